package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// big fills a cache beyond 4 GiB, kills its process, opens it, closes it and opens
// it once more. Keys lie in all of the page file.
func big(ctx context.Context, o *options, w io.Writer) error {
	dir, err := os.MkdirTemp(o.Dir, "big")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	live := int64(o.count(256, 4200)) << 20                                                      // bytes, of values
	p := fillPlan{Dir: filepath.Join(dir, "cache"), MaxBytes: live + live/16, Size: 16<<10 - 64} // whole ones fit into a segment
	p.Keys = int(live / int64(p.Size))
	if err := bigLives(ctx, p, w); err != nil {
		return err
	}
	largest := int64(0)
	list, err := os.ReadDir(p.Dir)
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			largest = max(largest, info.Size())
		}
	}
	fmt.Fprintf(w, "  the largest file has %d bytes\n", largest)
	if err == nil && live > 1<<32 && largest <= 1<<31 {
		err = errors.New("no file has over 2^31 bytes")
	}
	return err
}

func bigLives(ctx context.Context, p fillPlan, w io.Writer) error {
	had := 0 // entries at the end of the life before
	for round, how := range []string{"kill", "Close", "Close"} {
		p.Round = uint64(round + 1)
		c, err := startChild[fillNote](ctx, "fill", p)
		if err != nil {
			return err
		}
		open, err := c.within(5*time.Minute, told("opened"))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s, mapped in %v; %d of %d found in %v, %d bytes\n", open.Outcome, open.Mapped, open.Found, p.Keys, open.Took, open.Bytes)
		if round > 0 && (open.Outcome != "warm" || open.Found < had*95/100 || open.Wrong > 0) {
			return fmt.Errorf("round %d: %d were there, Open found %+v", round, had, open)
		}
		full, err := c.within(20*time.Minute, told("filled"))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  filled in %v: %d of %d found, %d bytes live, anonymous %d, disk %d\n", full.Took, full.Found, p.Keys, full.Bytes, full.Vitals.Anon, full.Vitals.Disk)
		least := 98 // in a hundred
		if round > 0 {
			least = 85 // what is overwritten takes room
		}
		if full.Found < p.Keys*least/100 || full.Wrong > 0 {
			return fmt.Errorf("round %d: after filling %+v", round, full)
		}
		if err := endBig(c, how); err != nil {
			return err
		}
		had, p.Had = full.Found, p.Round
	}
	return nil
}

func told(kind string) func(*fillNote) bool { return func(n *fillNote) bool { return n.Kind == kind } }

func endBig(c *child[fillNote], how string) (err error) {
	if how == "kill" {
		_, _ = c.within(2*time.Second, told("ended")) // some generations
		c.kill()
	} else {
		c.say("close")
		_, err = c.within(10*time.Minute, told("ended"))
	}
	for range c.told {
	}
	return err
}
