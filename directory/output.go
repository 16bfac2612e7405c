// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"k8s.io/klog/v2"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/rekor"
)

const (
	outputDir          = "log"
	checkpointInterval = 100 * time.Millisecond // the least that Tessera takes
	batchAge           = 5 * time.Millisecond
	publishPoll        = 20 * time.Millisecond
	witnessTimeout     = 5 * time.Second
)

// ErrWitnesses is wrapped by the error about a checkpoint that not enough witnesses
// cosigned. It is not published: clients that rely on the witnesses would refuse it.
var ErrWitnesses = errors.New(
	"no quorum of witnesses cosigned the checkpoint; nothing is published, and the next build goes on from here",
)

// Diverged is the error about an output log that is not that of the state, as when
// one of both was taken from a backup. To go on would be to contradict what was
// published.
type Diverged struct{ Why string }

// Error says what differs.
func (d *Diverged) Error() string { return "the output log is not that of the state: " + d.Why }

// Output is the output log of a directory (SPEC 16.3): Tessera's on files.
type Output struct {
	dir      string
	key      answers.Descriptor
	appender *tessera.Appender
	reader   tessera.LogReader
	cancel   context.CancelFunc
	shutdown func(context.Context) error
	wait     time.Duration
	witness  bool
}

var quietTessera = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })

// OpenOutput opens the output log below the state's directory. Key is the
// directory's signer key (C2SP signed-note), see [Keygen]; with a witness
// policy a checkpoint counts once that is met. Wait is how long a checkpoint may take.
func OpenOutput(
	dir string, key []byte, witnesses string, wait time.Duration, transport http.RoundTripper,
) (*Output, error) {
	quietTessera()
	signer, vkey, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, outputDir)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Output{dir: path, key: answers.Descriptor{Key: vkey}, cancel: cancel, wait: wait, witness: witnesses != ""}
	driver, err := tposix.New(ctx, tposix.Config{
		Path: path, HTTPClient: &http.Client{Transport: transport, Timeout: witnessTimeout},
	})
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(checkpointInterval).
		WithCheckpointRepublishInterval(0).WithBatching(1, batchAge)
	if witnesses != "" {
		group, err := tessera.NewWitnessGroupFromPolicy([]byte(witnesses))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("witness policy: %w", err), o.Close())
		}
		opts = opts.WithWitnesses(group, &tessera.WitnessOptions{Timeout: witnessTimeout})
	}
	if o.appender, o.shutdown, o.reader, err = tessera.NewAppender(ctx, driver, opts); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// VerifierKey returns the verifier key of the log.
func (o *Output) VerifierKey() string { return o.key.Key }

// Close ends the log's work in the background.
func (o *Output) Close() error {
	o.cancel()
	return nil
}

// Append makes data the entry with that index, unless it is that already, and
// returns it under a checkpoint that covers it and nothing more.
func (o *Output) Append(ctx context.Context, index int64, data []byte) (*Head, error) {
	size, err := o.reader.IntegratedSize(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case int64(size) == index:
		at, err := o.appender.Add(ctx, tessera.NewEntry(data))()
		if err != nil {
			return nil, err
		}
		if int64(at.Index) != index {
			return nil, &Diverged{fmt.Sprintf("an entry %d where %d was next", at.Index, index)}
		}
	case int64(size) == index+1:
		bundle, err := client.GetEntryBundle(ctx, o.reader.ReadEntryBundle, uint64(index)/rekor.TileEntries, size)
		if err != nil {
			return nil, err
		}
		if n := int(index % rekor.TileEntries); n >= len(bundle.Entries) || !bytes.Equal(bundle.Entries[n], data) {
			return nil, &Diverged{fmt.Sprintf("its entry %d is another leaf", index)}
		}
	default:
		return nil, &Diverged{fmt.Sprintf("it has %d entries, and the state %d", size, index)}
	}
	return o.published(ctx, index, data)
}

// published waits for the checkpoint of an entry.
func (o *Output) published(ctx context.Context, index int64, data []byte) (*Head, error) {
	within, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	tick := time.NewTicker(publishPoll)
	defer tick.Stop()
	for {
		signed, err := o.reader.ReadCheckpoint(within)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			cp, err := o.key.Open(signed)
			if err != nil {
				return nil, err
			}
			if cp.Size > index+1 {
				return nil, &Diverged{fmt.Sprintf("its checkpoint has %d entries, and the state %d", cp.Size, index+1)}
			}
			if cp.Size == index+1 {
				return o.head(ctx, cp, index, data)
			}
		}
		select {
		case <-tick.C:
		case <-within.Done():
			if ctx.Err() == nil && o.witness {
				return nil, ErrWitnesses
			}
			return nil, within.Err()
		}
	}
}

func (o *Output) head(ctx context.Context, cp answers.OutputCheckpoint, index int64, data []byte) (*Head, error) {
	builder, err := client.NewProofBuilder(ctx, uint64(cp.Size), o.reader.ReadTile)
	if err != nil {
		return nil, err
	}
	hashes, err := builder.InclusionProof(ctx, uint64(index))
	if err != nil {
		return nil, err
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(cp.Size),
		rfc6962.DefaultHasher.HashLeaf(data), hashes, cp.Root[:]); err != nil {
		return nil, &Diverged{err.Error()}
	}
	return &Head{string(cp.Note), index, data, hashes}, nil
}

// Follows demands that what a site shows of the output log is a beginning of it: a
// state that is older than what it published would contradict that. A site without a
// checkpoint is a new one.
func (o *Output) Follows(ctx context.Context, head *Head, site string) error {
	signed, err := os.ReadFile(filepath.Join(site, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	shown, err := o.key.Open(signed)
	if err != nil {
		return &Diverged{fmt.Sprintf("the site is of another one: %s", err)}
	}
	if head == nil {
		return &Diverged{fmt.Sprintf("the site shows %d entries, and the state none", shown.Size)}
	}
	now, err := o.key.Open([]byte(head.Checkpoint))
	if err != nil {
		return err
	}
	if shown.Size > now.Size {
		return &Diverged{fmt.Sprintf("the site shows %d entries, and the state %d", shown.Size, now.Size)}
	}
	var hashes [][]byte
	if shown.Size > 0 && shown.Size < now.Size {
		builder, err := client.NewProofBuilder(ctx, uint64(now.Size), o.reader.ReadTile)
		if err != nil {
			return err
		}
		if hashes, err = builder.ConsistencyProof(ctx, uint64(shown.Size), uint64(now.Size)); err != nil {
			return err
		}
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(shown.Size), uint64(now.Size), hashes, shown.Root[:],
		now.Root[:]); err != nil {
		return &Diverged{"the site shows another one"}
	}
	return nil
}
