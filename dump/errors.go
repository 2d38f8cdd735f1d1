package dump

import "errors"

var (
	// ErrClosed: the Dumper was closed, or its Close ran out of time.
	ErrClosed = errors.New("dumper closed")
	// ErrStalled: a disk has not answered for a while. Serving goes on.
	ErrStalled = errors.New("disk does not answer")

	// errNoPlace: retained generations and readers hold all places that the page
	// file may have.
	errNoPlace = errors.New("every place is taken or retained")
)
