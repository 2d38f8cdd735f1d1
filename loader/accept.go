package loader

import (
	"fmt"
	"time"

	"github.com/embercache/ember/pagefile"
)

// ResetName is the file that a person puts into a directory to have it opened
// cold.
const ResetName = "RESET"

// clockSlack is how far a record's wall clock may be ahead of ours: clocks are
// corrected by that much without anybody's doing.
const clockSlack = time.Minute

// accept reports whether the record is what Options ask for.
func (l *load) accept(rec *pagefile.Record) bool {
	ends := unending(rec)
	switch {
	case ends != nil:
		l.met(NumbersSpent, "", 1, fmt.Errorf("generation %d: %w", rec.Generation, ends))
	case rec.Schema != l.Schema:
		l.met(SchemaChanged, "", 1, fmt.Errorf("%w: the directory has %q, Options.Schema is %q", ErrSchema, rec.Schema, l.Schema))
	case l.res.Reset:
		l.met(ResetWanted, ResetName, 1, nil)
	case l.Clean && !rec.Clean:
		l.met(UncleanEnd, "", 1, fmt.Errorf("generation %d was not written by Close", rec.Generation))
	case l.MaxAge > 0 && !l.recent(rec):
		l.met(TooOld, "", 1, fmt.Errorf("generation %d was written at %s, it is %s now, and the most is %v", rec.Generation,
			time.Unix(0, rec.Wall).Format(time.RFC3339), l.Now.Format(time.RFC3339), l.MaxAge))
	default:
		return true
	}
	return false
}

// recent reports whether a record is no older than MaxAge. One of a time to come
// was written before our clock was set back or while it ran ahead: by how much
// nobody knows, and its age with it.
func (l *load) recent(rec *pagefile.Record) bool {
	age := l.Now.Sub(time.Unix(0, rec.Wall))
	return age <= l.MaxAge && age >= -min(l.MaxAge, clockSlack)
}

// goesOn reports whether somebody wrote after the record that was chosen: a
// process that opened it and had not written a generation when it ended.
func (l *load) goesOn() bool {
	return l.res.Weak > 0 || l.found.has(ChainTorn) || l.found.has(LiveApplied) || l.found.has(LiveEnded)
}

// refuseUnclean makes the Result cold, with what the records say.
func (l *load) refuseUnclean() {
	l.met(UncleanEnd, "", 1, fmt.Errorf("links follow generation %d, which Close had written", l.res.Record.Generation))
	retained := l.res.Retained
	l.forget()
	l.res.Retained = retained
}
