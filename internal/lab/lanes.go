package main

import (
	"errors"
	"io"
	"sync"
)

// inLanes calls do with each part, n at a time, in order. One that fails stops no
// other.
func inLanes[T any](n int, parts []T, do func(T) error) error {
	errs := make([]error, len(parts))
	lanes := make(chan struct{}, n)
	var group sync.WaitGroup
	for i, part := range parts {
		lanes <- struct{}{}
		group.Go(func() {
			errs[i] = do(part)
			<-lanes
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// A lineWriter takes lines of several who write at once, each in one call.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
