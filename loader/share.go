package loader

import (
	"fmt"
	"slices"
	"time"

	"github.com/embercache/ember/pagefile"
)

// An owner may retire what we choose while we choose it. It does so in this order:
//
//	W  the record that does not retain the generation is whole in the first ring
//	Q  the mirror has it too, and the owner asks for the generation's lease
//	F  nobody had it: places and files are reused
//
// We go in this order:
//
//	C  the newest record is chosen
//	H  its lease is taken
//	R  the rings are read again, and the newest record retains what was chosen
//
// If H comes before Q the owner finds the lease and keeps everything. If H comes
// after Q it comes after W, and so does R, which then finds the owner's record, or
// a later one: none retains again what one has dropped. So we start over, without
// having used a byte. A record that is half written when R reads it is not whole,
// so W is still to come, and H came before Q.
//
// A record whose sync failed is one that R may find and that the owner does not
// count: it writes the same cut again under another number. So it keeps asking for
// the number that failed as for one that it has dropped (dump/record.go: settle).
// And an owner that ends between W and Q takes what it knew along: the next one
// asks for all numbers before its own (dump/open.go: findReaders).

// shareTries bounds how often an owner may be faster. It rests 10 ms between two
// generations that nobody asked for.
const (
	shareTries = 100
	sharePause = time.Millisecond
)

// choose decides which generation is opened, and holds its lease if the directory
// may have an owner.
func (l *load) choose() {
	for tries := 1; ; tries++ {
		l.chooseRecord()
		if !l.Share || l.res.Record == nil || l.hold(tries == shareTries) || l.stopped() {
			return
		}
		l.res, l.found = &Result{Pages: noPages{}}, findings{}
		time.Sleep(sharePause)
	}
}

// hold takes the lease on the record that was chosen; false if it was retired
// meanwhile. Without a lease the record is used as it is.
func (l *load) hold(last bool) bool {
	lease, err := pagefile.OpenLeaseReader(l.FS, l.Dir)
	if err != nil {
		l.met(Unleased, "", 1, err)
		return true
	}
	l.res.closers = append(l.res.closers, lease)
	if _, err = lease.Hold(l.res.Record.Generation); err == nil && !l.stillRetained(l.res.Record) {
		if !last {
			l.res.Close()
			return false
		}
		err = fmt.Errorf("generation %d was retired, as %d before it were", l.res.Record.Generation, shareTries-1)
	}
	if err != nil {
		l.met(Unleased, "", 1, err)
	}
	return true
}

// stillRetained reads the rings again.
func (l *load) stillRetained(rec *pagefile.Record) bool {
	p := l.readRings()
	newest, same := p.newest(), p.record(rec.Generation)
	return newest != nil && same != nil && same.Hash() == rec.Hash() && slices.Contains(newest.Retained, rec.Generation)
}
