package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// A result is what one run of the service gave.
type result struct {
	opened
	fromStart   time.Duration // of the process, until the parent had the first answer
	fill        pass
	pass        pass
	serving     time.Duration
	served      served
	killed      time.Time
	generations []generation
}

// A report is what quickstart found.
type report struct {
	cfg        *config
	progress   *demo.Progress
	cold, warm result
	digest     pass          // of the second run, over all values
	wrong      []string      // of the sample
	closeTook  time.Duration // of the first run, with -stop close
}

// lost is how much of the writes the end of the first run has cost: the time
// between the last one found again and the last one acknowledged.
func (r *report) lost() time.Duration {
	return max(0, time.Duration(r.cold.served.Stamp-r.warm.LastWrite))
}

// verdict is an error if the second run was not what was promised.
func (r *report) verdict() error {
	var errs []error
	if r.digest.Digest != r.cold.fill.Digest {
		errs = append(errs, errors.New("the values differ from those that were stored"))
	}
	if len(r.wrong) > 0 {
		errs = append(errs, fmt.Errorf("wrong values for %s", strings.Join(r.wrong, ", ")))
	}
	if n := r.warm.pass.Files - r.warm.pass.Hits; n > 0 {
		errs = append(errs, fmt.Errorf("%s of %s entries are missing after the restart", demo.Count(n), demo.Count(r.warm.pass.Files)))
	}
	if last := r.warm.LastWrite; last == 0 || !r.cold.killed.IsZero() && last > r.cold.killed.UnixNano() {
		errs = append(errs, fmt.Errorf("the last write has the time stamp %d", last))
	}
	if r.cfg.stop == "close" && r.lost() > 0 {
		errs = append(errs, fmt.Errorf("close lost %v of writes", r.lost()))
	}
	return errors.Join(errs...)
}

func (r *report) print(w io.Writer) {
	r.printInput(w)
	r.printTable(w)
	r.printCost(w)
	r.printGenerations(w)
}

func (r *report) printInput(w io.Writer) {
	c := &r.cold
	fmt.Fprintf(w, "%s Go files, %s, in %s\n", demo.Count(c.fill.Files), demo.Bytes(c.fill.Source), r.cfg.root)
	fmt.Fprintf(w, "%s %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	var s Summary
	if json.Unmarshal(r.warm.Answer, &s) == nil && len(s.Symbols) > 0 {
		one := s.Symbols[0]
		fmt.Fprintf(w, "an answer: package %s, %d exported symbols, the first: %s\n", s.Package, len(s.Symbols), oneLine(one.Signature, one.Kind+" "+one.Name))
	}
	how := "killed"
	if r.cfg.stop == "close" {
		how = "closed"
	}
	fmt.Fprintf(w, "served %s requests in %s, %s files parsed again, then %s\n\n",
		demo.Count(c.served.Requests), demo.Time(c.serving), demo.Count(c.served.Parsed), how)
}

// oneLine returns text, or else if that is empty or has several lines.
func oneLine(text, other string) string {
	if text == "" || strings.Contains(text, "\n") {
		return other
	}
	return text
}

func (r *report) printTable(w io.Writer) {
	c, m := &r.cold, &r.warm
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(label string, cells ...string) {
		fmt.Fprintf(t, "%-36s\t%s\t\n", label, strings.Join(cells, "\t"))
	}
	row("", "empty cache", "second pass", "after the "+r.cfg.stop)
	row("Open", demo.Time(c.Open), "", demo.Time(m.Open))
	row("Open to the first answer", demo.Time(c.First)+parsedMark(c.Hit), "", demo.Time(m.First)+parsedMark(m.Hit))
	row("start of the process to that answer", demo.Time(c.fromStart), "", demo.Time(m.fromStart))
	row("answers for all files", demo.Time(c.fill.Took), demo.Time(c.pass.Took), demo.Time(m.pass.Took))
	row("of these from the cache", demo.Count(c.fill.Hits), demo.Count(c.pass.Hits), demo.Count(m.pass.Hits))
	row("parsing, all processors", demo.Time(c.fill.Parsing), demo.Time(c.pass.Parsing), demo.Time(m.pass.Parsing))
	row("finding the files", demo.Time(c.fill.List), "", demo.Time(m.pass.List))
	row("entries", demo.Count(c.fill.Entries), demo.Count(c.pass.Entries), demo.Count(m.pass.Entries))
	row("bytes in the cache", demo.Bytes(c.fill.Bytes), demo.Bytes(c.pass.Bytes), demo.Bytes(m.pass.Bytes))
	t.Flush()
}

// parsedMark says that a first answer had to be computed.
func parsedMark(hit bool) string {
	if hit {
		return ""
	}
	return " (parsed)"
}

func (r *report) printCost(w io.Writer) {
	m := &r.warm
	fmt.Fprintf(w, "\nrecovery: %s, generation %d and %d weak ones", m.Outcome, m.Generation, m.Weak)
	if m.Reason != "" {
		fmt.Fprintf(w, " (%s)", m.Reason)
	}
	fmt.Fprintln(w)
	if r.cfg.stop == "close" {
		fmt.Fprintf(w, "Close took %s\n", demo.Time(r.closeTook))
	}
	fmt.Fprintf(w, "work avoided: %s of parsing\n", demo.Time(r.cold.fill.Parsing-m.pass.Parsing))
	fmt.Fprintf(w, "writes lost: those of the last %s\n", demo.Time(r.lost()))
	fmt.Fprintf(w, "values checked: all %s by digest, %s of them parsed again: %s wrong\n",
		demo.Count(r.digest.Files), demo.Count(min(r.cfg.sample, r.digest.Files)), demo.Count(len(r.wrong)))
}

// shown is how many generations are listed singly.
const shown = 12

func (r *report) printGenerations(w io.Writer) {
	list := r.cold.generations
	fmt.Fprintf(w, "\n%s generations in the first run, bytes written by each:\n", demo.Count(len(list)))
	var rest int64
	for i, g := range list {
		if i >= shown {
			rest += g.Wrote
			continue
		}
		fmt.Fprintf(w, "%6d: %s\n", g.Number, demo.Bytes(g.Wrote))
	}
	if len(list) > shown {
		fmt.Fprintf(w, "  and %s in %s more\n", demo.Bytes(rest), demo.Count(len(list)-shown))
	}
}
