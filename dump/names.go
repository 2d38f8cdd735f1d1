package dump

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/embercache/ember/pagefile"
)

// letGo looks for the files that the newest generation consists of, and lets go of
// those whose names somebody has removed: what is written to them nobody finds. The
// next generation makes others in their place, and brings all that memory has. It
// returns what is gone, nil if nothing is. The leader calls it.
func (d *Dumper) letGo() error {
	if d.base.record == nil || d.needFull {
		return nil
	}
	var gone []error
	missing := func(path string) bool {
		file, err := d.cfg.FS.OpenFile(path, os.O_RDONLY, 0)
		if err == nil {
			file.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		gone = append(gone, &fileDamage{fmt.Errorf("%s was removed: %w", path, err),
			pagefile.CorruptionError{Path: path, Generation: d.base.record.Generation}})
		return true
	}
	for i, name := range ringNames {
		if d.rings[i] != nil && missing(filepath.Join(d.cfg.Dir, name)) {
			d.rings[i].Close()
			d.rings[i] = nil
			delete(d.files.rings, name)
		}
	}
	if h := d.home; h.file != nil && missing(d.files.path(fileKey{pagefile.KindPages, h.id})) {
		h.file.Close()
		h.file = nil
	}
	named := make(map[fileKey]bool)
	needs(named, d.base.record)
	for key := range named {
		if key.id != 0 && (key.kind == pagefile.KindImage || key.kind == pagefile.KindBlobs) {
			missing(d.files.path(key))
		}
	}
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	if ring := d.chain.ring; ring != nil && missing(d.files.path(fileKey{pagefile.KindWeak, ring.id})) {
		d.chain.abandon()
		d.chain.stop(errors.New("weak generations paused: the ring was removed"))
	}
	d.needFull = len(gone) > 0
	return errors.Join(gone...)
}
