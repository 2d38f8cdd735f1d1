package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// A control is the parent's side of a service.
type control struct {
	child  *demo.Child
	result *result
	filled time.Time // when the fill was over
	ended  bool
}

// startService starts a service and waits for its first answer.
func startService(ctx context.Context, j job, res *result) (*control, error) {
	child, err := demo.Start(ctx)
	if err != nil {
		return nil, err
	}
	s := &control{child: child, result: res}
	if err := child.Send(j); err != nil {
		s.end()
		return nil, err
	}
	r, err := s.next()
	if err == nil && r.Opened == nil {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		s.end()
		return nil, err
	}
	res.opened, res.fromStart = *r.Opened, time.Since(child.Started)
	return s, nil
}

// end makes sure that the child is gone.
func (s *control) end() {
	if !s.ended {
		s.child.Kill()
		s.child.Wait()
		s.ended = true
	}
}

// next returns the next reply that is not about a generation; those it notes.
func (s *control) next() (r reply, err error) {
	for {
		r = reply{}
		if err := s.child.Receive(&r); err != nil {
			return r, fmt.Errorf("service ended: %w", err)
		}
		if r.Error != "" {
			return r, errors.New(r.Error)
		}
		if r.Generation == nil {
			return r, nil
		}
		s.result.generations = append(s.result.generations, *r.Generation)
	}
}

// ask sends c and returns the reply.
func (s *control) ask(c command) (reply, error) {
	if err := s.child.Send(c); err != nil {
		return reply{}, err
	}
	return s.next()
}

func (s *control) pass(c passCommand) (pass, error) {
	r, err := s.ask(command{Pass: &c})
	if err == nil && r.Pass == nil {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		return pass{}, err
	}
	return *r.Pass, nil
}

func (s *control) check(n int) ([]string, error) {
	if n <= 0 {
		return nil, nil
	}
	r, err := s.ask(command{Check: n})
	if err == nil && r.Checked == nil {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		return nil, err
	}
	return r.Checked.Wrong, nil
}

// maxWait bounds how long serve waits for generations after the fill.
const maxWait = 20 * time.Second

// serve lets the service run for the time wanted, and on until a generation
// surely has all of the fill: the second one completed after it. Then it goes on
// to a moment between two generations that nobody chose.
func (s *control) serve(ctx context.Context, r *report) error {
	if err := s.child.Send(command{Serve: true}); err != nil {
		return err
	}
	begun := time.Now()
	extra := rand.N(max(r.cfg.interval, 1))
	for {
		rep, err := s.next()
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		s.served(rep)
		took := time.Since(begun)
		r.progress.Show("first run: serving, %s requests", demo.Count(s.result.served.Requests))
		done := s.generationsAfterFill() >= 2
		if took > maxWait && !done {
			return fmt.Errorf("fewer than two generations completed within %v of serving", maxWait)
		}
		if took > r.cfg.serve+extra && done {
			s.result.serving = took
			return nil
		}
	}
}

func (s *control) generationsAfterFill() (n int) {
	for _, g := range s.result.generations {
		if g.At > s.filled.UnixNano() {
			n++
		}
	}
	return n
}

func (s *control) served(r reply) {
	if r.Served != nil {
		s.result.served = *r.Served
	}
}

// kill ends the service in the middle of what it does, and notes the last that
// it said before.
func (s *control) kill() error {
	if err := s.child.Kill(); err != nil {
		return err
	}
	s.result.killed = time.Now()
	for {
		r, err := s.next()
		if err != nil {
			break // the end of what it said
		}
		s.served(r)
	}
	s.child.Wait()
	s.ended = true
	return nil
}

// close ends the service as a deploy would.
func (s *control) close() (time.Duration, error) {
	if err := s.child.Send(command{Close: true}); err != nil {
		return 0, err
	}
	for {
		r, err := s.next()
		if err != nil {
			return 0, err
		}
		s.served(r)
		if r.Closed != nil {
			s.ended = true
			return r.Closed.Took, s.child.Wait()
		}
	}
}
