package pagefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

func openLease(t *testing.T, dir string) *Lease {
	t.Helper()
	l, err := OpenLease(OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func wantHeld(t *testing.T, l *Lease, generation uint64, want bool) {
	t.Helper()
	if got, err := l.Held(generation); got != want || err != nil {
		t.Fatalf("Held(%d) = %v, %v, want %v", generation, got, err, want)
	}
}

func hold(t *testing.T, l *Lease, generation uint64) func() {
	t.Helper()
	release, err := l.Hold(generation)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestLease(t *testing.T) {
	dir := t.TempDir()
	dumper, reader := openLease(t, dir), openLease(t, dir)
	t.Run("a held generation is held for everybody, its neighbours are not", func(t *testing.T) {
		release := hold(t, reader, 7)
		wantHeld(t, dumper, 7, true)
		wantHeld(t, reader, 7, true)
		wantHeld(t, dumper, 6, false)
		wantHeld(t, dumper, 8, false)
		release()
		wantHeld(t, dumper, 7, false)
	})
	t.Run("the last of several readers lets go", func(t *testing.T) {
		first, second, own := hold(t, reader, 9), hold(t, reader, 9), hold(t, dumper, 9)
		first()
		first() // again is nothing
		wantHeld(t, dumper, 9, true)
		own()
		wantHeld(t, dumper, 9, true)
		second()
		wantHeld(t, dumper, 9, false)
	})
	t.Run("asking takes nothing away", func(t *testing.T) {
		release := hold(t, reader, 10)
		wantHeld(t, reader, 10, true)
		wantHeld(t, dumper, 10, true)
		wantHeld(t, dumper, 10, true)
		release()
	})
	t.Run("any number has a byte", func(t *testing.T) {
		release := hold(t, reader, 1<<64-1)
		wantHeld(t, dumper, 1<<64-1, true)
		release()
	})
	t.Run("a closed lease holds nothing", func(t *testing.T) {
		third := openLease(t, dir)
		hold(t, third, 11)
		third.Close()
		wantHeld(t, dumper, 11, false)
	})
}

func TestLeaseBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	l := openLease(t, dir)
	_, kill := startChild(t, "lease", dir)
	wantHeld(t, l, childGeneration, true)
	wantHeld(t, l, childGeneration+1, false)
	kill()
	wantHeld(t, l, childGeneration, false)
}

// A reader that arrives while the dumper asks must get its hold all the same.
func TestLeaseHoldAgainstAsking(t *testing.T) {
	dir := t.TempDir()
	dumper, reader := openLease(t, dir), openLease(t, dir)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				dumper.Held(3)
			}
		}
	})
	for range 200 {
		hold(t, reader, 3)()
	}
	close(stop)
	asking.Wait()
	wantHeld(t, dumper, 3, false)
}

func TestLeaseOfAReadOnlyFile(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("permissions do not bind here")
	}
	dir := t.TempDir()
	writer := openLease(t, dir)
	path := filepath.Join(dir, leaseFile)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	reader := openLease(t, dir)
	release := hold(t, reader, 5)
	wantHeld(t, writer, 5, true)
	release()
	if held, err := reader.Held(6); !held || err == nil {
		t.Errorf("Held without permission = %v, %v, want held and an error", held, err)
	}
}

// A process that takes over finds every reader, without knowing whom to ask for,
// and takes nothing away.
func TestHeldBefore(t *testing.T) {
	dir := t.TempDir()
	dumper, reader := openLease(t, dir), openLease(t, dir)
	want := []uint64{0, 1, 63, 64, 4711, 1 << 40}
	var releases []func()
	for _, g := range append(want, 1<<40+1) {
		releases = append(releases, hold(t, reader, g))
	}
	for range 2 {
		got, err := dumper.HeldBefore(1<<40 + 1)
		if !slices.Equal(got, want) || err != nil {
			t.Fatalf("got %d, %v, want %d", got, err, want)
		}
	}
	for _, g := range want {
		wantHeld(t, dumper, g, true)
	}
	for _, release := range releases {
		release()
	}
	if got, err := dumper.HeldBefore(1 << 60); len(got) > 0 || err != nil {
		t.Errorf("got %d, %v after all were released", got, err)
	}
	hold(t, dumper, 3)
	if _, err := dumper.HeldBefore(10); err == nil {
		t.Error("a lease that holds asked: that would end its own hold")
	}
	wantHeld(t, reader, 3, true)
}

func TestLeaseReaderChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenLeaseReader(OS(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if names, _ := OS().ReadDir(dir); len(names) > 0 {
		t.Errorf("%v was made", names)
	}
	dumper := openLease(t, dir)
	reader, err := OpenLeaseReader(OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, reader, 5)
	wantHeld(t, dumper, 5, true)
	reader.Close()
	wantHeld(t, dumper, 5, false)
}
