package pagefile

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func openRing(t *testing.T, dir string) *Ring {
	t.Helper()
	ring, err := OpenRing(OS(), dir, RecordsName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	return ring
}

func recordOf(generation uint64) *Record {
	r := sampleRecord()
	r.Generation, r.Retained, r.Image = generation, []uint64{generation}, 0
	return r
}

func generations(records []*Record) (list []uint64) {
	for _, r := range records {
		list = append(list, r.Generation)
	}
	return list
}

func TestRing(t *testing.T) {
	dir := t.TempDir()
	ring := openRing(t, dir)
	if records, damaged, newer := ring.ReadAll(); records != nil || damaged != nil || newer {
		t.Errorf("a new ring: %v, %v, %v", records, damaged, newer)
	}
	for g := uint64(60); g <= 130; g++ {
		if err := ring.Write(recordOf(g)); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]*Ring{"the writer": ring, "opened again": openRing(t, dir)} {
		records, damaged, newer := r.ReadAll()
		if len(records) != RingSlots || records[0].Generation != 67 || damaged != nil || newer {
			t.Fatalf("%s: %v, %v, %v", name, generations(records), damaged, newer)
		}
		for i, rec := range records {
			if !reflect.DeepEqual(rec, recordOf(67+uint64(i))) {
				t.Errorf("%s: got %+v", name, rec)
			}
		}
	}
	reader, err := OpenRingReadOnly(OS(), dir, RecordsName)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if records, _, _ := reader.ReadAll(); len(records) != RingSlots {
		t.Errorf("read-only: %v", generations(records))
	}
	if reader.Write(recordOf(1)) == nil {
		t.Error("read-only: written")
	}
	if _, err := OpenRingReadOnly(OS(), dir, MirrorName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no mirror: %v", err)
	}
}

func TestRingWritesOnlyValidRecords(t *testing.T) {
	ring := openRing(t, t.TempDir())
	bad := recordOf(7)
	bad.Opens = 0
	if ring.Write(bad) == nil {
		t.Error("accepted")
	}
	if records, damaged, _ := ring.ReadAll(); records != nil || damaged != nil {
		t.Errorf("something was written: %v, %v", records, damaged)
	}
}

func TestRingSlotErrors(t *testing.T) {
	dir := t.TempDir()
	ring := openRing(t, dir)
	for g := uint64(1); g <= 5; g++ {
		if err := ring.Write(recordOf(g)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(slot, at int, b ...byte) {
		if _, err := ring.file.WriteAt(b, slotOffset(slot)+int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	newerRecord := marshal(t, recordOf(3))
	binary.LittleEndian.PutUint16(newerRecord[recordVersion:], Version+1)
	resealRecord(newerRecord)

	put(1, 500, 0xff)                           // damaged
	put(2, 0, make([]byte, PageSize)...)        // as if it had never been written
	put(3, 0, newerRecord...)                   // of a newer build
	put(9, 0, marshal(t, recordOf(5))...)       // misdirected
	put(10, 9999, 1)                            // a stray byte
	put(11, 0, marshal(t, recordOf(11))[:8]...) // torn
	records, damaged, newer := ring.ReadAll()
	if got, want := generations(records), []uint64{4, 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("records: got %v, want %v", got, want)
	}
	if want := []int{1, 9, 10, 11}; !reflect.DeepEqual(damaged, want) {
		t.Errorf("damaged: got %v, want %v", damaged, want)
	}
	if !newer {
		t.Error("the newer record went unnoticed")
	}
}

func TestRingTruncations(t *testing.T) {
	dir := t.TempDir()
	ring := openRing(t, dir)
	for g := uint64(1); g <= 2; g++ {
		if err := ring.Write(recordOf(g)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, RecordsName)
	if err := os.Truncate(path, slotOffset(2)+100); err != nil {
		t.Fatal(err)
	}
	records, damaged, _ := ring.ReadAll()
	if got := generations(records); !reflect.DeepEqual(got, []uint64{1}) || len(damaged) != RingSlots-2 || damaged[0] != 2 {
		t.Errorf("cut in slot 2: %v, damaged %v", got, damaged)
	}
	// Opened to write, the file is completed and the slots are empty or damaged.
	records, damaged, _ = openRing(t, dir).ReadAll()
	if got := generations(records); !reflect.DeepEqual(got, []uint64{1}) || !reflect.DeepEqual(damaged, []int{2}) {
		t.Errorf("completed: %v, damaged %v", got, damaged)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if records, damaged, _ := ring.ReadAll(); records != nil || damaged != nil {
		t.Errorf("an empty file: %v, damaged %v", records, damaged)
	}
}
