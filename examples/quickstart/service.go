package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/cache"
	"github.com/embercache/ember/internal/demo"
)

// A file is one that the service answers for. Its key has the size and time of
// the file in it, so an edited file is a miss and not an old answer.
type file struct {
	name string // relative to the root, with slashes
	key  []byte
	size int64
}

func newFile(name string, info fs.FileInfo) file {
	key := fmt.Sprintf("%s %d %d", name, info.Size(), info.ModTime().UnixNano())
	return file{name, []byte(key), info.Size()}
}

// listFiles finds the Go files below root.
func listFiles(root string) (files []file, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(p) != ".go" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(p[len(root):]), "/")
		files = append(files, newFile(name, info))
		return nil
	})
	return files, err
}

// A service runs in the child process.
type service struct {
	job   job
	cache *cache.Cache
	files []file // found by the first pass

	sendMu sync.Mutex
	parent *demo.Pipe

	requests, parsed atomic.Uint64
	stop             context.CancelFunc
	serving          sync.WaitGroup
}

// runService is the child's main. It returns the exit status.
func runService() int {
	s := &service{parent: demo.Parent()}
	if err := s.run(); err != nil {
		s.send(reply{Error: err.Error()})
		return 1
	}
	return 0
}

func (s *service) run() error {
	if err := s.parent.Receive(&s.job); err != nil {
		return err
	}
	o, err := s.open()
	if err != nil {
		return err
	}
	go s.watchGenerations()
	s.send(reply{Opened: o})
	for {
		var c command
		if s.parent.Receive(&c) != nil {
			return nil // the parent is gone
		}
		if err := s.do(c); err != nil {
			return err
		}
	}
}

func (s *service) do(c command) (err error) {
	var r reply
	switch {
	case c.Pass != nil:
		r.Pass, err = s.pass(c.Pass.Digest)
	case c.Serve:
		s.startServing()
		return nil
	case c.Check > 0:
		r.Checked, err = s.check(c.Check)
	case c.Close:
		r.Closed, err = s.close()
	}
	if err == nil {
		s.send(r)
	}
	return err
}

// send ignores that the parent is gone; the next Receive notices.
func (s *service) send(r reply) {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.parent.Send(r)
}

// lastWrite is the key of the time stamp that tells how much a kill has cost.
var lastWrite = []byte("last write")

// open opens the cache and answers the first request.
func (s *service) open() (*opened, error) {
	start := time.Now()
	var err error
	s.cache, err = cache.Open(context.Background(), s.job.Dir, &cache.Options{
		MaxBytes:   s.job.MaxBytes,
		Durability: cache.Durability{Interval: s.job.Interval},
		Logger:     demo.Warnings(),
	})
	if err != nil {
		return nil, err
	}
	o := &opened{Open: time.Since(start)}
	info, err := os.Stat(s.path(s.job.First))
	if err != nil {
		return nil, err
	}
	a, err := s.get(nil, newFile(s.job.First, info))
	if err != nil {
		return nil, err
	}
	o.First, o.Hit, o.Answer = time.Since(start), a.hit, a.value
	rec := s.cache.Recovery()
	o.Outcome, o.Generation, o.Weak = rec.Outcome.String(), rec.Generation, rec.Weak
	if rec.Reason != nil {
		o.Reason = rec.Reason.Error()
	}
	if v, ok := s.cache.Get(lastWrite); ok && len(v) == 8 {
		o.LastWrite = int64(binary.LittleEndian.Uint64(v))
	}
	return o, nil
}

func (s *service) path(name string) string {
	return filepath.Join(s.job.Root, filepath.FromSlash(name))
}

// An answer is the encoded Summary of a file.
type answer struct {
	value   []byte
	hit     bool
	parsing time.Duration // 0 for a hit
}

// get is the service's work: the answer from the cache, or else computed and
// cached. A hit is appended to buf.
func (s *service) get(buf []byte, f file) (answer, error) {
	if v, ok := s.cache.AppendGet(buf, f.key); ok {
		return answer{value: v, hit: true}, nil
	}
	return s.compute(f)
}

func (s *service) compute(f file) (answer, error) {
	start := time.Now()
	v, err := summarize(s.path(f.name))
	if err != nil {
		return answer{}, err
	}
	a := answer{value: v, parsing: time.Since(start)}
	if err := s.cache.Set(f.key, v); err != nil {
		return answer{}, fmt.Errorf("cache %s: %w", f.name, err)
	}
	return a, nil
}

// pass answers for each file once, on all processors.
func (s *service) pass(digest bool) (*pass, error) {
	p := new(pass)
	start := time.Now()
	if s.files == nil {
		var err error
		if s.files, err = listFiles(s.job.Root); err != nil {
			return nil, err
		}
		p.List = time.Since(start)
	}
	start = time.Now()
	err := s.each(p, digest)
	p.Took = time.Since(start)
	for _, f := range s.files {
		p.Source += f.size
	}
	p.Files, p.Entries, p.Bytes = len(s.files), s.cache.Len(), s.cache.Bytes()
	return p, err
}

func (s *service) each(p *pass, digest bool) error {
	var (
		next, hits, sum atomic.Uint64
		parsing         atomic.Int64
		failed          atomic.Pointer[error]
		wg              sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var buf []byte
			for i := next.Add(1) - 1; i < uint64(len(s.files)) && failed.Load() == nil; i = next.Add(1) - 1 {
				a, err := s.get(buf[:0], s.files[i])
				if err != nil {
					failed.Store(&err)
					return
				}
				if a.hit {
					hits.Add(1)
					buf = a.value
				}
				parsing.Add(int64(a.parsing))
				if digest {
					sum.Add(digestOf(s.files[i].key, a.value))
				}
			}
		})
	}
	wg.Wait()
	p.Hits, p.Parsing, p.Digest = int(hits.Load()), time.Duration(parsing.Load()), sum.Load()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// digestOf is one entry's part of a digest over all, which is their sum.
func digestOf(key, value []byte) uint64 {
	k, v := sha256.Sum256(key), sha256.Sum256(value)
	both := sha256.Sum256(append(k[:], v[:]...))
	return binary.LittleEndian.Uint64(both[:])
}

// check computes n answers anew and compares them with what the cache has.
func (s *service) check(n int) (*checked, error) {
	c := new(checked)
	for _, i := range rand.Perm(len(s.files))[:min(n, len(s.files))] {
		f := s.files[i]
		want, err := summarize(s.path(f.name))
		if err != nil {
			return nil, err
		}
		if got, ok := s.cache.Get(f.key); ok && string(got) != string(want) {
			c.Wrong = append(c.Wrong, f.name)
		}
	}
	return c, nil
}

func (s *service) close() (*closed, error) {
	if s.stop != nil {
		s.stop()
		s.serving.Wait()
	}
	start := time.Now()
	err := s.cache.Close()
	return &closed{Took: time.Since(start)}, err
}

// watchGenerations reports each generation that is complete. It ends with the
// process.
func (s *service) watchGenerations() {
	last := s.cache.Stats()
	for range time.Tick(5 * time.Millisecond) {
		now := s.cache.Stats()
		if now.Generation != last.Generation {
			s.send(reply{Generation: &generation{now.Generation, time.Now().UnixNano(), now.DiskWritten - last.DiskWritten}})
			last = now
		}
	}
}
