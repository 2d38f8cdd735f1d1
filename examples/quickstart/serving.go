package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"time"
)

const (
	skew       = 1.1  // of the requests, as in rand.NewZipf
	savedEvery = 4096 // requests, of which one finds that its file was saved
	burst      = 512  // requests between two pauses
	pause      = time.Millisecond
)

// startServing starts what goes on until the process ends or is told to close.
func (s *service) startServing() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for range runtime.GOMAXPROCS(0) {
		s.serving.Go(func() { s.answer(ctx) })
	}
	s.serving.Go(func() { s.stamp(ctx) })
}

// answer requests for files, some of them much more popular than others. Now
// and then somebody has saved a file, and it must be parsed again.
func (s *service) answer(ctx context.Context) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	popular := rand.NewZipf(r, skew, 1, uint64(len(s.files)-1))
	order := r.Perm(len(s.files))
	var buf []byte
	for n := 1; ctx.Err() == nil; n++ {
		f := s.files[order[popular.Uint64()]]
		var a answer
		var err error
		if n%savedEvery == 0 {
			a, err = s.compute(f)
		} else {
			a, err = s.get(buf[:0], f)
		}
		if err != nil {
			s.send(reply{Error: err.Error()})
			return
		}
		s.requests.Add(1)
		if a.hit {
			buf = a.value
		} else {
			s.parsed.Add(1)
		}
		if n%burst == 0 {
			time.Sleep(pause)
		}
	}
}

// stamp stores the time every millisecond and then tells the parent. What the
// parent was told and the next process does not find is what the end has cost.
func (s *service) stamp(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		now := time.Now().UnixNano()
		if err := s.cache.Set(lastWrite, binary.LittleEndian.AppendUint64(nil, uint64(now))); err != nil {
			s.send(reply{Error: err.Error()})
			return
		}
		s.send(reply{Served: &served{s.requests.Load(), s.parsed.Load(), now}})
		<-tick.C
	}
}
