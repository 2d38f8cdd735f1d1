package deploy

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/embercache/ember/examples/webservice/load"
	"github.com/embercache/ember/internal/demo"
)

// describe says what is run, and where.
func describe(ctx context.Context, o *Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "command: webservice %s\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(&b, "machine: %s, %d processors, %s, %s/%s; commit %s; %s\n", processor(), runtime.NumCPU(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH, commit(ctx), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "load: %s requests/s from one process on this machine, open loop, for %s products, (%g+k)^-%g; %g %% absent, %g %% changes; seed %d\n",
		demo.Count(int(o.Load.Rate)), demo.Count(o.Load.Products), o.Load.Flat, o.Load.Skew, 100*o.Load.Absent, 100*o.Load.Writes, o.Load.Seed)
	fmt.Fprintf(&b, "database: SQLite, %v added to each query, %d queries at a time (so at most %s a second)\n", o.Latency, o.Conns,
		demo.Count(int(float64(o.Conns)/max(o.Latency, time.Microsecond).Seconds())))
	fmt.Fprintf(&b, "warmed by %v of this load, then %v before and %v after the restart by %s\n\n", o.Warm, o.Before, o.After, o.how())
	return b.String()
}

func (o *Options) how() string {
	if o.Kill {
		return "SIGKILL; the new process is started when the old one is gone"
	}
	return "SIGTERM; the new process is running already, and waits"
}

// processor is the model's name, where the kernel tells it.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown processor"
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func writeReport(w io.Writer, o *Options, about string, outcomes []outcome) {
	fmt.Fprint(w, about)
	writeSummary(w, o, outcomes)
	fmt.Fprintln(w, "\nSecond by second. 0 begins with the restart; p99 from the time a request was due; errors are requests without an answer.")
	for pair := outcomes; len(pair) > 1; pair = pair[2:] {
		writeSeconds(w, o, pair[:2])
	}
	fmt.Fprintln(w)
	for _, out := range outcomes {
		fmt.Fprintf(w, "%s: old process gone after %s, new one ready after %s; it says: %s\n",
			out.name, demo.Time(out.gone), demo.Time(out.ready), strings.Join(strings.Split(strings.TrimSpace(out.recovery), "\n"), "; "))
	}
}

func writeSummary(w io.Writer, o *Options, outcomes []outcome) {
	fmt.Fprintf(w, "| | hits before | first second after | as before again after | p99 before | worst after | errors: refused | other | outdated answers |\n")
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
	for i := range outcomes {
		out := &outcomes[i]
		before, after := out.split(o)
		refused := out.all.Counts[load.Refused]
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %d | %d | %d |\n", out.name, percent(ratio(before)), percent(after[0].HitRatio()),
			out.backAfter(o), demo.Time(worst(before)), demo.Time(worst(after)), refused, out.all.Errors()-refused, out.all.Outdated)
	}
}

func (out *outcome) split(o *Options) (before, after []load.Second) {
	n := int(o.Before / time.Second)
	return out.seconds[:n], out.seconds[n:]
}

// ratio is the hit ratio over several seconds.
func ratio(seconds []load.Second) float64 {
	var sum load.Second
	for i := range seconds {
		sum.Counts[load.Hit] += seconds[i].Counts[load.Hit]
		sum.Counts[load.Miss] += seconds[i].Counts[load.Miss]
	}
	return sum.HitRatio()
}

func worst(seconds []load.Second) (p99 time.Duration) {
	for i := range seconds {
		p99 = max(p99, seconds[i].P99)
	}
	return p99
}

// backAfter says when the hit ratio came within two points of that before.
func (out *outcome) backAfter(o *Options) string {
	before, after := out.split(o)
	for i := range after {
		if after[i].HitRatio() >= ratio(before)-0.02 {
			if i == 0 {
				return "at once"
			}
			return fmt.Sprintf("%d s", i)
		}
	}
	return fmt.Sprintf("not within %d s", len(after))
}

func writeSeconds(w io.Writer, o *Options, outcomes []outcome) {
	head, line := "| s |", "| --: |"
	for _, out := range outcomes {
		head += fmt.Sprintf(" %s: hits | p99 | errors |", out.name)
		line += " --: | --: | --: |"
	}
	fmt.Fprintf(w, "\n%s\n%s\n", head, line)
	for i := range outcomes[0].seconds {
		fmt.Fprintf(w, "| %d |", i-int(o.Before/time.Second))
		for _, out := range outcomes {
			s := &out.seconds[i]
			fmt.Fprintf(w, " %s | %s | %d |", percent(s.HitRatio()), demo.Time(s.P99), s.Errors())
		}
		fmt.Fprintln(w)
	}
}

func percent(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*x)
}
