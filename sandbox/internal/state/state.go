// SPDX-License-Identifier: Apache-2.0

// Package state keeps what a stack must find again after a restart: keys, ports
// and the moment at which it was first started.
package state

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Ports lie below the ranges from which Linux and macOS take the ports of
// outgoing connections, so that none of those can occupy a remembered one.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 200
)

// Dir is an open state directory. One process at a time may have it open.
type Dir struct {
	// Created is when the directory was first used, to the second.
	Created time.Time

	path  string
	lock  *os.File
	mu    sync.Mutex
	ports map[string]int
}

type saved struct {
	Created time.Time      `json:"created"`
	Ports   map[string]int `json:"ports"`
}

// Open opens a directory, which is created where it does not exist. It is an
// error if another stack has it open, in this process or another one.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Join(path, "keys"), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: another sandbox uses this directory: %w", path, err)
	}
	d := &Dir{Created: time.Now().UTC().Truncate(time.Second), path: path, lock: lock, ports: map[string]int{}}
	data, err := os.ReadFile(d.Path("state.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.save()
	case err == nil:
		s := saved{}
		if err = json.Unmarshal(data, &s); err == nil {
			d.Created = s.Created
			if s.Ports != nil {
				d.ports = s.Ports
			}
		}
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: %w", d.Path("state.json"), err)
	}
	return d, nil
}

// Close lets another stack use the directory.
func (d *Dir) Close() error {
	// A process that is being started right now holds a copy of the descriptor
	// until it is: closing ours alone would leave the lock with it.
	return errors.Join(syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close())
}

// Path returns the path of something in the directory.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

func (d *Dir) save() error {
	data, err := json.MarshalIndent(saved{d.Created, d.ports}, "", "  ")
	if err != nil {
		return err
	}
	return d.Write("state.json", append(data, '\n'))
}

// Write replaces a file of the directory in one step: whoever reads it, also
// after the process was killed, sees the old or the new content. It does not wait
// for the disk, which only a crash of the machine would notice.
func (d *Dir) Write(name string, data []byte) error {
	path := d.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Listen listens on the port of 127.0.0.1 that the service had before, and on a
// free one the first time.
func (d *Dir) Listen(service string) (net.Listener, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if port, ok := d.ports[service]; ok {
		l, err := listen(port)
		if err != nil {
			return nil, fmt.Errorf("%s: its port is taken, and clients know it by that: %w", service, err)
		}
		return l, nil
	}
	for range portTries {
		n, err := rand.Int(rand.Reader, big.NewInt(lastPort-firstPort))
		if err != nil {
			return nil, err
		}
		port := firstPort + int(n.Int64())
		l, err := listen(port)
		if err != nil {
			continue
		}
		d.ports[service] = port
		if err := d.save(); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	}
	return nil, fmt.Errorf("%s: no free port between %d and %d", service, firstPort, lastPort)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// ECDSA returns the key of that name, made at first use.
func (d *Dir) ECDSA(name string) (*ecdsa.PrivateKey, error) {
	return load(d, name, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
}

// Ed25519 returns the key of that name, made at first use.
func (d *Dir) Ed25519(name string) (ed25519.PrivateKey, error) {
	return load(d, name, func() (ed25519.PrivateKey, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	})
}

// KeyPath is where the key of that name is kept, as PKCS #8 PEM.
func (d *Dir) KeyPath(name string) string { return d.Path("keys", name+".pem") }

// RSA returns the RSA key of that name, made at first use.
func (d *Dir) RSA(name string) (*rsa.PrivateKey, error) {
	return load(d, name, func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
}

// RSAOf reads an RSA key of a directory that a running stack has open.
func RSAOf(dir, name string) (*rsa.PrivateKey, error) {
	d := &Dir{path: dir}
	return parse[*rsa.PrivateKey](d.KeyPath(name))
}

func load[K any](d *Dir, name string, generate func() (K, error)) (K, error) {
	var none K
	if _, err := os.Stat(d.KeyPath(name)); !errors.Is(err, fs.ErrNotExist) {
		return parse[K](d.KeyPath(name))
	}
	key, err := generate()
	if err != nil {
		return none, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return none, err
	}
	return key, d.Write(filepath.Join("keys", name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func parse[K any](file string) (K, error) {
	var none K
	data, err := os.ReadFile(file)
	if err != nil {
		return none, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return none, fmt.Errorf("%s: no PEM block", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return none, fmt.Errorf("%s: %w", file, err)
	}
	k, ok := key.(K)
	if !ok {
		return none, fmt.Errorf("%s: a key of type %T", file, key)
	}
	return k, nil
}

// Certificate returns the certificate of that name, made at first use.
func (d *Dir) Certificate(name string, make func() ([]byte, error)) (*x509.Certificate, error) {
	file := filepath.Join("keys", name+".crt.pem")
	data, err := os.ReadFile(d.Path(file))
	if errors.Is(err, fs.ErrNotExist) {
		der, err := make()
		if err != nil {
			return nil, err
		}
		data = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := d.Write(file, data); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", d.Path(file))
	}
	return x509.ParseCertificate(block.Bytes)
}
