package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// sharpTimers lets the calling thread wake within a microsecond of when it asked
// to; 50 are the default.
func sharpTimers() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0) // refused: later by the default
}

// nap blocks the thread: the runtime's own timers may be a millisecond late.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // a signal may end it; the caller looks at the clock
}
