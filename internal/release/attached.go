// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"io/fs"
	"path"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// attached looks for evidence in the blobs to which nothing in index.json leads: `cosign save`
// writes manifests there that only their subject connects with an image of the layout. What is
// found is evidence that is yet to be verified, and nothing that is judged.
func (l *layout) attached() error {
	looked := 0
	return fs.WalkDir(l.Root.FS(), "blobs", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case l.ctx.Err() != nil:
			return l.ctx.Err()
		case err != nil: // that it cannot be read is for who accounts for files to say
			return nil
		case !entry.Type().IsRegular() || l.reached[name]:
			return nil
		}
		d, m := l.unlisted(name)
		if m == nil || m.Subject == nil || m.IsIndex || !l.reached[oci.BlobPath(m.Subject.Digest)] {
			return nil
		}
		if looked++; looked > maxManifests {
			l.evidence = append(l.evidence, failed(l.dir, "OCI layout", failf(policy.BundleInvalid,
				"more than %d manifests are attached without being listed; the rest was not read", maxManifests)))
			return fs.SkipAll
		}
		l.linked[name] = m.Subject.Digest
		for _, b := range blobsOf(m) {
			if blob := oci.BlobPath(b.Digest); !l.reached[blob] {
				l.linked[blob] = m.Subject.Digest
			}
		}
		l.collect(d, m)
		return nil
	})
}

// unlisted returns the manifest that a file is, nil if it is none or another than its name says.
func (l *layout) unlisted(name string) (d oci.Descriptor, m *oci.Manifest) {
	var err error
	if d.Digest, err = policy.ParseDigest(path.Base(path.Dir(name)) + ":" + path.Base(name)); err != nil {
		return d, nil
	}
	f, err := file.OpenIn(l.Root, name)
	if err != nil {
		return d, nil
	}
	info, err := f.Stat()
	begin := make([]byte, 1)
	if _, rerr := f.Read(begin); err == nil {
		err = rerr
	}
	if cerr := f.Close(); err != nil || cerr != nil || !bytes.Equal(begin, []byte("{")) {
		return d, nil
	}
	d.Size = info.Size()
	if m, err = l.parse(d); err != nil {
		return d, nil
	}
	return d, m
}
