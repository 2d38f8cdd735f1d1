package cache

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// A recorder is a slog.Handler that keeps what it is given.
type recorder struct {
	common *recorded
	attrs  []slog.Attr
}

type recorded struct {
	mu    sync.Mutex
	lines []line
	hook  func() // before each line, outside mu; may be nil
}

// A line is one record: its level, the keys in their order, and all as text.
type line struct {
	level slog.Level
	event string
	keys  []string
	text  string
}

func newRecorder() *recorder { return &recorder{common: new(recorded)} }

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithGroup(string) slog.Handler            { panic("not used") }

func (r *recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &recorder{r.common, slices.Concat(r.attrs, attrs)}
}

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	if hook := r.common.hook; hook != nil {
		hook()
	}
	l := line{level: rec.Level}
	text := []string{rec.Message}
	add := func(a slog.Attr) bool {
		if a.Key == "event" {
			l.event = a.Value.String()
		}
		l.keys = append(l.keys, a.Key)
		text = append(text, fmt.Sprintf("%s=%v", a.Key, a.Value.Resolve()))
		return true
	}
	for _, a := range r.attrs {
		add(a)
	}
	rec.Attrs(add)
	l.text = strings.Join(text, " ")
	r.common.mu.Lock()
	defer r.common.mu.Unlock()
	r.common.lines = append(r.common.lines, l)
	return nil
}

// of are the lines of an event; of all for "".
func (r *recorder) of(event string) (list []line) {
	r.common.mu.Lock()
	defer r.common.mu.Unlock()
	for _, l := range r.common.lines {
		if event == "" || l.event == event {
			list = append(list, l)
		}
	}
	return list
}
