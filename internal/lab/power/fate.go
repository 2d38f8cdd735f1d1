package power

import "math/rand"

// A fate is what becomes, in a power cut, of what was written since the last flush.
type fate uint8

const (
	fateLost   fate = iota // none of it was written
	fateKept               // all of it was
	fateTorn               // all of it but the last write, of which some sectors were
	fateSome               // some writes were, whatever their order
	fateSector             // of each write some sectors of 512 bytes were
	fatePage               // of each write some pages of 4 KiB were
	fates                  // how many there are
)

var fateNames = [fates]string{"lost", "kept", "last torn", "some kept", "torn at 512", "torn at 4096"}

func (f fate) String() string { return fateNames[f] }

// A cut is a moment of a disk and a fate.
type cut struct {
	at   int // operations asked before it
	fate fate
	seed int64
}

// lastFlush is how many of the operations before n a flush covers.
func lastFlush(log []op, n int) int {
	for ; n > 0; n-- {
		if log[n-1].flush() {
			return n
		}
	}
	return 0
}

// A cutter makes the images that power cuts leave of a disk, in the order of their
// moments.
type cutter struct {
	log     []op
	durable *image // what of log[:done] is
	done    int
}

func newCutter(d *disk) *cutter { return &cutter{log: d.log, durable: d.base.clone()} }

// after is what a cut leaves. It also says how many writes were at the mercy of it.
func (k *cutter) after(c cut) (m *image, loose int) {
	covered := lastFlush(k.log, c.at)
	for ; k.done < covered; k.done++ {
		o := k.log[k.done]
		k.durable.write(o.data, o.off)
	}
	m = k.durable.clone()
	rng := rand.New(rand.NewSource(c.seed))
	chance := [...]int{1, 5, 9}[rng.Intn(3)] // of ten writes so many are kept
	for i, o := range k.log[covered:c.at] {
		switch c.fate {
		case fateKept:
			m.write(o.data, o.off)
		case fateTorn:
			if i < c.at-covered-1 {
				m.write(o.data, o.off)
			} else {
				tear(m, o, sectorSize, 5, rng)
			}
		case fateSome:
			if rng.Intn(10) < chance {
				m.write(o.data, o.off)
			}
		case fateSector:
			tear(m, o, sectorSize, chance, rng)
		case fatePage:
			tear(m, o, pageSize, chance, rng)
		}
	}
	return m, c.at - covered
}

// tear writes some pieces of a write, as they lie on the disk: of ten as many as
// chance says.
func tear(m *image, o op, unit int64, chance int, rng *rand.Rand) {
	for off := o.off; off < o.off+int64(len(o.data)); {
		end := min((off/unit+1)*unit, o.off+int64(len(o.data)))
		if rng.Intn(10) < chance {
			m.write(o.data[off-o.off:end-o.off], off)
		}
		off = end
	}
}
