package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// unacked is more time than any writer goes on without an acknowledgement.
const unacked = time.Minute

// A bench runs the rounds.
type bench struct {
	cfg      *config
	dir      string
	progress *demo.Progress
	rand     *rand.Rand

	writes []span // of all rounds so far in the cache's directory
	peak   int64  // the most bytes that its entries took
}

// A round is what one restart gave.
type round struct {
	filled    *filled // nil if a round before has filled the cache
	closed    *closed // with -how close
	dropped   string  // how the page cache was dropped
	opened    opened
	fromStart time.Duration // of the process, until the parent knew of the first hit
	check     check

	entries    int           // the first process had before its end
	bytes      int64         // those entries took
	peak       int64         // the most that entries took since the cache was filled
	acked      uint64        // last write that was acknowledged
	lostWrites uint64        // acknowledged and not found
	lostTime   time.Duration // from before the first of them to the last acknowledgement
}

// round runs round number i.
func (b *bench) round(ctx context.Context, i int) (*round, error) {
	dir := filepath.Join(b.dir, "cache")
	if !b.cfg.chain {
		b.writes, b.peak = nil, 0
		dir = filepath.Join(b.dir, fmt.Sprint("round", i+1))
	}
	r := new(round)
	acks, err := b.firstProcess(ctx, dir, i, r)
	if err != nil {
		return nil, fmt.Errorf("first process: %w", err)
	}
	if b.cfg.cold {
		b.show(i, "dropping the page cache")
		if r.dropped, err = dropPageCache(dir); err != nil {
			return nil, err
		}
	}
	if err := b.secondProcess(ctx, dir, i, r); err != nil {
		return nil, fmt.Errorf("second process: %w", err)
	}
	r.lostWrites, r.lostTime = lost(acks, r.check.Newest)
	b.keepOnly(r.check.Newest)
	if !b.cfg.chain && !b.cfg.keep {
		err = os.RemoveAll(dir)
	}
	return r, err
}

func (b *bench) show(i int, format string, args ...any) {
	b.progress.Show("round %d of %d: %s", i+1, b.cfg.rounds, fmt.Sprintf(format, args...))
}

// firstProcess fills the cache, unless a round before has, writes, and ends.
func (b *bench) firstProcess(ctx context.Context, dir string, i int, r *round) ([]ack, error) {
	p, err := b.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if !b.cfg.chain || i == 0 {
		rep, err := p.ask(command{Fill: true}, func(n int) { b.show(i, "%s entries filled", demo.Count(n)) })
		if err != nil {
			return nil, err
		}
		r.filled = rep.Filled
	}
	first := b.nextWrite()
	acks := []ack{{Last: first - 1, Entries: p.opened.Entries}}
	if r.filled != nil {
		acks[0].Entries, acks[0].Bytes = r.filled.Entries, r.filled.Bytes
	}
	if acks, err = b.write(p, i, first, acks); err != nil {
		return nil, err
	}
	if b.cfg.how == "kill" {
		acks, err = p.kill(acks)
	} else {
		r.closed, acks, err = p.close(acks)
	}
	last := acks[len(acks)-1]
	r.entries, r.bytes, r.acked = last.Entries, last.Bytes, last.Last
	for _, a := range acks {
		b.peak = max(b.peak, a.Bytes)
	}
	r.peak = b.peak
	// What came after the last acknowledgement may be there, or a part of it.
	b.writes = append(b.writes, span{first, r.acked + uint64(unacked.Seconds())*uint64(b.cfg.Rate)})
	return acks, err
}

// nextWrite is a number that no write before has had.
func (b *bench) nextWrite() uint64 {
	if len(b.writes) == 0 {
		return 1
	}
	return b.writes[len(b.writes)-1].Last + 1
}

// keepOnly notes that writes beyond newest were lost and will not come back.
// Their numbers are not used again.
func (b *bench) keepOnly(newest uint64) {
	next := b.nextWrite()
	for i := range b.writes {
		b.writes[i].Last = min(b.writes[i].Last, newest)
	}
	b.writes = append(b.writes, span{next, next - 1})
}

// write lets p write for as long as wanted, to a moment that nobody chose.
func (b *bench) write(p *process, i int, first uint64, acks []ack) ([]ack, error) {
	if b.cfg.Rate == 0 || b.cfg.run == 0 {
		return acks, nil
	}
	if err := p.child.Send(command{Write: first}); err != nil {
		return acks, err
	}
	end := time.Now().Add(b.cfg.run + time.Duration(b.rand.Int64N(int64(max(b.cfg.Interval, 1)))))
	for time.Now().Before(end) {
		rep, err := p.next()
		if err != nil {
			return acks, err
		}
		acks = appendAck(acks, rep)
		b.show(i, "%s writes", demo.Count(acks[len(acks)-1].Last-first+1))
	}
	return acks, nil
}

func appendAck(acks []ack, r reply) []ack {
	if r.Ack != nil {
		acks = append(acks, *r.Ack)
	}
	return acks
}

// lost returns how many acknowledged writes are newer than the newest found,
// and the time from before the first of them, to a millisecond, until the last
// acknowledgement.
func lost(acks []ack, newest uint64) (uint64, time.Duration) {
	last := acks[len(acks)-1]
	for _, a := range acks {
		if a.Last > newest {
			return last.Last - newest, time.Duration(last.At - a.Begun)
		}
	}
	return 0, 0
}

// secondProcess opens the cache again and looks at every entry.
func (b *bench) secondProcess(ctx context.Context, dir string, i int, r *round) error {
	b.show(i, "opening")
	p, err := b.start(ctx, dir)
	if err != nil {
		return err
	}
	defer p.end()
	r.opened, r.fromStart = p.opened, p.fromStart
	rep, err := p.ask(command{Check: b.writes}, func(n int) { b.show(i, "%s entries checked", demo.Count(n)) })
	if err != nil {
		return err
	}
	if rep.Check == nil {
		return errors.New("unexpected reply")
	}
	r.check = *rep.Check
	_, _, err = p.close([]ack{{}})
	return err
}

// A process is the parent's side of a child.
type process struct {
	child     *demo.Child
	opened    opened
	fromStart time.Duration
	ended     bool
}

// start starts a child and waits until its cache is open.
func (b *bench) start(ctx context.Context, dir string) (*process, error) {
	c, err := demo.Start(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{child: c}
	err = c.Send(job{b.cfg.load, dir})
	var rep reply
	if err == nil {
		rep, err = p.next()
	}
	if err == nil && rep.Opened == nil {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		p.end()
		return nil, err
	}
	p.opened, p.fromStart = *rep.Opened, time.Since(c.Started)
	return p, nil
}

// end makes sure that the child is gone.
func (p *process) end() {
	if !p.ended {
		p.child.Kill()
		p.child.Wait()
		p.ended = true
	}
}

func (p *process) next() (r reply, err error) {
	if err := p.child.Receive(&r); err != nil {
		return r, fmt.Errorf("child ended: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// ask sends c and returns the reply, calling progress until then.
func (p *process) ask(c command, progress func(done int)) (reply, error) {
	if err := p.child.Send(c); err != nil {
		return reply{}, err
	}
	for {
		r, err := p.next()
		if err != nil || r.Done == 0 {
			return r, err
		}
		progress(r.Done)
	}
}

// kill ends the child and reads what it had still acknowledged.
func (p *process) kill(acks []ack) ([]ack, error) {
	if err := p.child.Kill(); err != nil {
		return acks, err
	}
	for {
		var r reply
		if p.child.Receive(&r) != nil {
			break // the end of what it said
		}
		if r.Error != "" {
			return acks, errors.New(r.Error)
		}
		acks = appendAck(acks, r)
	}
	p.child.Wait()
	p.ended = true
	return acks, nil
}

// close lets the child close its cache and end.
func (p *process) close(acks []ack) (*closed, []ack, error) {
	if err := p.child.Send(command{Close: true}); err != nil {
		return nil, acks, err
	}
	for {
		r, err := p.next()
		if err != nil {
			return nil, acks, err
		}
		acks = appendAck(acks, r)
		if r.Closed != nil {
			p.ended = true
			return r.Closed, acks, p.child.Wait()
		}
	}
}
