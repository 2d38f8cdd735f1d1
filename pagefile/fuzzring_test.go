package pagefile

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/fuzzing"
)

// repaired is a mode of rings: a record that was changed retains itself, and is
// followed by zeroes. Without that few that are changed would be believed.
const (
	repaired = sealings + iota
	repairs
)

// ringSlots is how many slots of the sample ring there are: two with a record, one
// that was never written, and one that is cut off.
const ringSlots = 4

// ringTarget: patches of a ring whose first slots have records. Each of them is read
// in its place or counted as damaged.
func ringTarget(tb testing.TB) *fuzzing.Target {
	file := make([]byte, (ringSlots-1)*MaxRecord+PageSize)
	for slot, generation := range []uint64{RingSlots, 1} {
		r := sampleRecord()
		r.Generation, r.Image, r.Retained = generation, 0, []uint64{generation}
		copy(file[slot*MaxRecord:], marshal(tb, r))
	}
	var buf []byte
	check := func(t testing.TB, script []byte, mode byte) bool {
		var touched uint64 // slots
		buf = fuzzing.Patch(buf[:0], file, script, func(off, n int) {
			touched |= 1<<(off/MaxRecord) | 1<<((off+n-1)/MaxRecord)
		})
		for slot := 0; mode != raw && slot*MaxRecord < len(buf); slot++ {
			if touched>>slot&1 != 0 {
				b := buf[slot*MaxRecord : min((slot+1)*MaxRecord, len(buf))]
				if mode == repaired {
					repairRecord(b)
				}
				resealRecord(b)
			}
		}
		r := &Ring{file: &memFile{b: buf}}
		if len(script)%64 != 0 { // reading all is slow: most of it is slots that are not there
			return checkSlots(t, r, buf)&touched != 0
		}
		records, damaged, _ := r.ReadAll()
		read := uint64(0)
		for i, r := range records {
			if i > 0 && r.Generation <= records[i-1].Generation || slices.Contains(damaged, RingSlot(r.Generation)) {
				t.Errorf("record %d twice, out of order, or damaged as well: %v", r.Generation, damaged)
			}
			checkInSlot(t, r, buf)
			read |= 1 << RingSlot(r.Generation)
		}
		if !slices.IsSorted(damaged) || len(records)+len(damaged) > RingSlots {
			t.Errorf("%d records, damaged %v", len(records), damaged)
		}
		return read&touched != 0
	}
	seeds := fuzzing.Inputs(repairs, fuzzing.Same(file, 0, 500), fuzzing.Same(file, MaxRecord, 500),
		fuzzing.Same(file, 2*MaxRecord, 64), fuzzing.Short(MaxRecord+100), fuzzing.Short(0))
	return &fuzzing.Target{Name: "FuzzRing", Seeds: seeds, Modes: repairs, Most: 1 << 10, Check: check}
}

// repairRecord puts right what a record says twice.
func repairRecord(b []byte) {
	if len(b) < recordHeader || len(b) < MaxRecord {
		return
	}
	n := int(le32(b, recordLength))
	if n < recordHeader+8 || n > len(b) {
		return
	}
	clear(b[n:])
	lists := func(i int) int { return int(le16(b, recordLists+2*i)) }
	last := recordHeader + lists(2)*stateSize + lists(0)*extentSize + (lists(1)-1)*retainedSize
	if lists(1) > 0 && last+retainedSize <= n-8 {
		binary.LittleEndian.PutUint64(b[last:], le64(b, recordNumbers))
	}
}

// checkSlots returns the slots whose record was read, as bits.
func checkSlots(t testing.TB, r *Ring, file []byte) (read uint64) {
	buf := make([]byte, MaxRecord)
	for slot := range ringSlots {
		rec, err := r.readSlot(slot, buf)
		if rec != nil && (err != nil || RingSlot(rec.Generation) != slot) {
			t.Errorf("slot %d holds record %d, %v", slot, rec.Generation, err)
		}
		if rec != nil {
			checkInSlot(t, rec, file)
			read |= 1 << slot
		}
	}
	return read
}

func checkInSlot(t testing.TB, r *Record, file []byte) {
	again, err := r.MarshalBinary()
	if at := slotOffset(RingSlot(r.Generation)); at >= int64(len(file)) || err != nil || !bytes.HasPrefix(file[at:], again) {
		t.Errorf("record %d is not what its slot holds: %v", r.Generation, err)
	}
}
