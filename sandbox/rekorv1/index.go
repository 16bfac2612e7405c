// SPDX-License-Identifier: Apache-2.0

package rekorv1

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	redisserver "github.com/alicebob/miniredis/v2/server"
)

// maxJournalLine bounds one entry of the journal: an index key and an entry id.
const maxJournalLine = 1 << 20

// index is Rekor's search index in a Redis of this process, with a journal of
// what was pushed: much of it cannot be computed from the log again, since an
// entry of kind dsse does not hold the statement.
type index struct {
	redis   *miniredis.Miniredis
	mu      sync.Mutex
	journal *os.File
	err     error // of the journal, told at the end
}

// startIndex starts the index, with what the journal holds if keep is set.
func startIndex(file string, keep bool) (*index, error) {
	i := &index{redis: miniredis.NewMiniRedis()}
	if keep {
		if err := i.replay(file); err != nil {
			return nil, err
		}
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !keep {
		flags |= os.O_TRUNC
	}
	var err error
	if i.journal, err = os.OpenFile(file, flags, 0o600); err != nil {
		return nil, err
	}
	if err := i.redis.StartAddr("127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, i.journal.Close())
	}
	i.redis.Server().SetPreHook(i.record)
	return i, nil
}

// replay pushes what the journal holds. Its last line may be cut off by a crash.
func (i *index) replay(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxJournalLine)
	for n := 1; lines.Scan(); n++ {
		var push []string
		if err := json.Unmarshal(lines.Bytes(), &push); err != nil || len(push) < 2 {
			if !lines.Scan() {
				break
			}
			return fmt.Errorf("%s:%d: not a push: %w", file, n, err)
		}
		if _, err := i.redis.Lpush(push[0], push[1]); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return lines.Err()
}

// record notes every push before it happens, and lets Redis do it.
func (i *index) record(_ *redisserver.Peer, command string, args ...string) bool {
	if strings.EqualFold(command, "LPUSH") {
		i.mu.Lock()
		defer i.mu.Unlock()
		data, err := json.Marshal(args)
		if err == nil {
			_, err = i.journal.Write(append(data, '\n'))
		}
		i.err = errors.Join(i.err, err)
	}
	return false
}

func (i *index) close() error {
	i.redis.Close()
	i.mu.Lock()
	defer i.mu.Unlock()
	return errors.Join(i.err, i.journal.Close())
}
