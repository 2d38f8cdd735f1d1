package pagefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A ring file is 64 slots of 16 KiB. Generation g is in slot g % 64; a slot that
// was never written is zeroes. The file has no header: each record is complete
// in itself, and a header would be one more block whose loss loses all.
const (
	RingSlots = 64
	RingSize  = RingSlots * MaxRecord
)

// A Ring is one of the two files of records. Records are written first to
// RecordsName, and when that is synced to MirrorName: at most one copy of a
// record is ever half written. Not safe for concurrent use.
type Ring struct {
	file File
}

// OpenRing opens a ring to write, and makes it, allocated and synced with its
// directory, if it is missing or was never complete. It changes no slot.
func OpenRing(fsys FS, dir, name string) (*Ring, error) {
	file, err := fsys.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if err := completeRing(fsys, dir, file); err != nil {
		file.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &Ring{file}, nil
}

// completeRing allocates what is missing. The directory is synced in any case:
// the process that made the file may have died before it did so.
func completeRing(fsys FS, dir string, file File) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	if size < RingSize {
		if err := file.Allocate(size, RingSize-size); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}

// OpenRingReadOnly opens a ring to read. The error of a ring that does not exist
// wraps fs.ErrNotExist.
func OpenRingReadOnly(fsys FS, dir, name string) (*Ring, error) {
	file, err := fsys.OpenFile(filepath.Join(dir, name), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &Ring{file}, nil
}

// Write writes a record into its slot and syncs. After an error the slot may
// hold the old record, the new one or neither, and the new one, if it is there,
// may not survive a power cut (I8).
func (r *Ring) Write(rec *Record) error {
	b, err := rec.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := r.file.WriteAt(b, slotOffset(RingSlot(rec.Generation))); err != nil {
		return fmt.Errorf("write record %d: %w", rec.Generation, err)
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("sync record %d: %w", rec.Generation, err)
	}
	return nil
}

// Erase makes every slot one that was never written, and syncs. After an error any
// of them may be as it was.
func (r *Ring) Erase() error {
	if _, err := r.file.WriteAt(make([]byte, RingSize), 0); err != nil {
		return fmt.Errorf("erase records: %w", err)
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("erase records: sync: %w", err)
	}
	return nil
}

// Close closes the file.
func (r *Ring) Close() error { return r.file.Close() }

// RingSlot is where the record of a generation is.
func RingSlot(generation uint64) int { return int(generation % RingSlots) }

func slotOffset(slot int) int64 { return int64(slot) * MaxRecord }

// ReadAll reads every slot: the records that verify, by ascending generation,
// and the slots, ascending, that hold something else than a record or nothing
// (a half-written record, a damaged one, one of another slot, one cut off with
// the end of the file) or that cannot be read. An empty file has empty slots.
// newer: some slots hold records of a newer version.
func (r *Ring) ReadAll() (records []*Record, damaged []int, newer bool) {
	// A process may have died between making the file and allocating it.
	if size, err := r.file.Size(); err == nil && size == 0 {
		return nil, nil, false
	}
	buf := make([]byte, MaxRecord)
	for slot := range RingSlots {
		rec, err := r.readSlot(slot, buf)
		switch {
		case errors.Is(err, ErrVersion):
			newer = true
		case err != nil:
			damaged = append(damaged, slot)
		case rec != nil:
			records = append(records, rec)
		}
	}
	slices.SortFunc(records, func(a, b *Record) int {
		// Slots differ, so generations do.
		if a.Generation < b.Generation {
			return -1
		}
		return 1
	})
	return records, damaged, newer
}

// readSlot returns nil and nil for a slot that was never written.
func (r *Ring) readSlot(slot int, buf []byte) (*Record, error) {
	n, err := r.file.ReadAt(buf, slotOffset(slot))
	if n < len(buf) && !atEnd(err) {
		return nil, err
	}
	if n == len(buf) && allZero(buf) {
		return nil, nil
	}
	rec := new(Record)
	if err := rec.UnmarshalBinary(buf[:n]); err != nil {
		return nil, err
	}
	if RingSlot(rec.Generation) != slot {
		return nil, corrupt("record %d in slot %d", rec.Generation, slot)
	}
	return rec, nil
}
