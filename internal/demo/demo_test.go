package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMain lets this test binary be its own child: it echoes what it is sent.
func TestMain(m *testing.M) {
	if IsChild() {
		echo(Parent())
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func echo(p *Pipe) {
	var v any
	for p.Receive(&v) == nil {
		if p.Send(v) != nil {
			return
		}
	}
}

func start(t *testing.T) *Child {
	t.Helper()
	c, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChildAnswers(t *testing.T) {
	c := start(t)
	var got string
	if err := errors.Join(c.Send("hello"), c.Receive(&got)); err != nil || got != "hello" {
		t.Errorf("got %q, %v, want hello", got, err)
	}
	if err := c.Wait(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v, want exit status 3: the child notices that nobody sends", err)
	}
}

func TestKilledChildEndsThePipe(t *testing.T) {
	c := start(t)
	var got any
	if err := errors.Join(c.Send(1), c.Receive(&got), c.Send(2), c.Kill()); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		err = c.Receive(&got)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an end", err)
	}
	if err := c.Wait(); err == nil {
		t.Error("got no error from Wait after Kill")
	}
}

func TestChildEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	var got any
	if err := c.Receive(&got); err == nil {
		t.Error("got an answer from a child whose context ended")
	}
	c.Wait()
}

func TestProgressIsSilentOffATerminal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := NewProgress(f)
	p.Show("working %d", 1)
	p.Clear()
	if got, err := os.ReadFile(name); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v, want nothing", got, err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Error("the null device passes for a terminal")
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(-1234567), "-1,234,567"}, {Count(-100), "-100"},
		{Bytes(1023), "1023 B"}, {Bytes(1536), "1.5 KiB"}, {Bytes(64 << 20), "64.0 MiB"}, {Bytes(3 << 29), "1.50 GiB"},
		{Time(0), "0 µs"}, {Time(1500), "1.50 µs"}, {Time(12345 * time.Microsecond), "12.3 ms"},
		{Time(250 * time.Millisecond), "250 ms"}, {Time(3210 * time.Millisecond), "3.21 s"}, {Time(time.Hour), "3600 s"},
		{Count(Quantile([]int{3, 1, 2}, 0.5)), "2"}, {Count(Quantile([]int{4, 3, 1, 2}, 0.5)), "2"},
		{Count(Quantile([]int{3, 1, 2}, 0)), "1"}, {Count(Quantile([]int{3, 1, 2}, 1)), "3"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
