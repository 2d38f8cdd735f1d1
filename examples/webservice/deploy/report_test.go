package deploy

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/examples/webservice/load"
)

// example is the outcome of deploys of which the second loses its cache.
func example() (*Options, []outcome) {
	o := &Options{Before: 2 * time.Second, After: 4 * time.Second, Conns: 10, Latency: 5 * time.Millisecond,
		Load: load.Options{Rate: 100, Products: 1000, Skew: 1.1, Flat: 20, Seed: 1}}
	var outcomes []outcome
	for i, s := range allSeries {
		out := outcome{series: s, recovery: "ready\nrecovery: warm\n"}
		for j := range 6 {
			hits := 90
			if j >= 2 && i%2 == 1 {
				hits = 20 * (j - 1)
			}
			out.seconds = append(out.seconds, second(hits, time.Duration(100-hits)*time.Millisecond))
		}
		outcomes = append(outcomes, out)
	}
	outcomes[1].seconds[2] = load.Second{} // nothing was answered: no point in a chart
	outcomes[1].all.Counts[load.Refused], outcomes[1].all.Counts[load.Failed] = 7, 2
	return o, outcomes
}

func second(hits int, p99 time.Duration) (s load.Second) {
	s.Counts[load.Hit], s.Counts[load.Miss], s.P99 = hits, 100-hits, p99
	return s
}

func TestReport(t *testing.T) {
	o, outcomes := example()
	about := describe(t.Context(), o)
	var b strings.Builder
	writeReport(&b, o, about, outcomes)
	for _, want := range []string{
		"machine: ", "load: 100 requests/s", "at most 2,000 a second", "by SIGTERM",
		"| Ember | 90.0 % | 90.0 % | at once | 10.0 ms | 10.0 ms | 0 | 0 | 0 |\n",
		"| Go map | 90.0 % | - | not within 4 s | 10.0 ms | 60.0 ms | 7 | 2 | 0 |\n",
		"| -2 | 90.0 % | 10.0 ms | 0 | 90.0 % | 10.0 ms | 0 |\n",
		"| 0 | 90.0 % | 10.0 ms | 0 | - | 0 µs | 0 |\n",
		"it says: ready; recovery: warm\n",
	} {
		if got := b.String(); !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
}

func TestValidate(t *testing.T) {
	o, _ := example()
	if err := o.Validate(); err != nil {
		t.Errorf("got %v for an ordinary deploy, want no error", err)
	}
	for name, spoil := range map[string]func(*Options){
		"nothing before": func(o *Options) { o.Before = 0 },
		"nothing after":  func(o *Options) { o.After = time.Millisecond },
		"no connections": func(o *Options) { o.Conns = 0 },
		"no load":        func(o *Options) { o.Load.Rate = 0 },
	} {
		o, _ := example()
		spoil(o)
		if err := o.Validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestVerdict(t *testing.T) {
	o, outcomes := example()
	if err := verdict(o, outcomes[:2]); err != nil {
		t.Errorf("got %v, want none: a map may be cold", err)
	}
	outcomes[1].all.Outdated = 1
	outcomes[0].seconds[2] = second(79, 0)
	outcomes[2].seconds[2] = load.Second{}
	err := verdict(o, outcomes[:3])
	if err == nil {
		t.Fatal("got no error")
	}
	want := "Ember: a hit ratio of 79.0 % right after the restart, 90.0 % before it\n" +
		"Go map: 1 answers were outdated\n" +
		"Ember, new field, Migrate: a hit ratio of - right after the restart, 90.0 % before it"
	if got := err.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChartHasGaps(t *testing.T) {
	_, outcomes := example()
	got := runs(outcomes[1].seconds, -2, func(s *load.Second) float64 { return s.HitRatio() })
	if len(got) != 2 || len(got[0]) != 4 || len(got[1]) != 6 || got[0][3].X != 0 || got[1][0].X != 1 {
		t.Errorf("got %v, want lines from -2 to 0 and from 1 to 4", got)
	}
}

func TestChart(t *testing.T) {
	o, outcomes := example()
	dir := t.TempDir()
	for _, name := range []string{"c.png", "c.svg"} {
		if err := writeChart(filepath.Join(dir, name), o, outcomes); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(dir, "c.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	colours := make(map[[3]uint32]bool)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r >> 8, g >> 8, b >> 8}] = true
		}
	}
	for i, s := range styles {
		if r, g, b, _ := s.Color.RGBA(); !colours[[3]uint32{r >> 8, g >> 8, b >> 8}] {
			t.Errorf("the colour of series %d is nowhere in the picture", i)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "c.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Ember", "Go map", "restart", "seconds since the restart", "hits, in % of the reads"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("got no %q in the picture", want)
		}
	}
}
