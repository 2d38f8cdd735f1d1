package cache

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A liveLeft is what Open finds of the log that the last process wrote. Who loads has
// it to himself until he is done.
type liveLeft struct {
	dir   liveDir // nil: none is wanted, or err says why there is none
	err   error
	token uint64 // session of the log that the last process had and did not end; 0: none
	named bool   // there is a token, whatever it says, or there may be one
}

// liveToken is the file of the directory that names the session whose log may be
// applied: that of the last process that had the directory, if it had one. A process
// without the option removes it: what it does the log does not know. Where there is one
// the gauges need a count: a live log is told of a store before them.
const liveToken = "LIVE"

const tokenSize = 24

// find looks for the token and the folder; it is asked before anything is loaded.
func (l *liveLeft) find(p *persistence, o *Options) {
	l.token, l.named = p.readToken()
	if o.Durability.Live == "" || o.readOnly() || l.dir != nil || l.err != nil {
		return
	}
	if l.dir = o.hooks.live; l.dir != nil {
		return
	}
	d, err := pagefile.OpenLiveDir(o.Durability.Live, min(time.Second, o.Recovery.Timeout/4))
	if l.err = err; err == nil {
		l.dir = d
	}
}

// read gives the loader the log that the token names.
func (l *liveLeft) read(geo pagefile.Geometry) ([]byte, error) {
	if l.dir == nil {
		return nil, cmp.Or(l.err, errNoLiveDir)
	}
	b, err := l.dir.Read(liveName(geo))
	if err == nil && pagefile.LiveSession(b) != l.token {
		err = fmt.Errorf("%w: the live log is another process'", pagefile.ErrCorrupt)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, pagefile.ErrCorrupt) {
		l.err = err // nor can it be written
	}
	return b, err
}

var errNoLiveDir = errors.New("the last process had a live log, and Durability.Live is not set")

func (l *liveLeft) close() {
	if l.dir != nil {
		l.dir.Close()
	}
}

func liveName(geo pagefile.Geometry) string { return fmt.Sprintf("ember-%016x.live", geo.DirID) }

func (p *persistence) tokenPath() string { return filepath.Join(p.dir, liveToken) }

// readToken returns 0 for what is no token. named is false only if there surely is none.
func (p *persistence) readToken() (session uint64, named bool) {
	f, err := p.fs.OpenFile(p.tokenPath(), os.O_RDONLY, 0)
	if err != nil {
		return 0, !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	var b [tokenSize]byte
	if n, _ := f.ReadAt(b[:], 0); n < tokenSize || string(b[:8]) != "EmberLv1" || binary.LittleEndian.Uint64(b[16:]) != ^binary.LittleEndian.Uint64(b[8:]) {
		return 0, true
	}
	return binary.LittleEndian.Uint64(b[8:]), true
}

func (p *persistence) writeToken(session uint64) error {
	f, err := p.fs.OpenFile(p.tokenPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	b := append(make([]byte, 0, tokenSize), "EmberLv1"...)
	b = binary.LittleEndian.AppendUint64(b, session)
	b = binary.LittleEndian.AppendUint64(b, ^session)
	_, err = f.WriteAt(b, 0)
	return err
}

// dropToken is for a process that writes no log. A token that stays does no harm: with
// the first link of that process the log goes on from none.
func (p *persistence) dropToken() { _ = p.fs.Remove(p.tokenPath()) }

// parting runs what takes a log away or begins one, and waits for it as long as ctx
// lasts. The directory is not given back before it has ended: the next process has a
// log, too.
func (p *persistence) parting(ctx context.Context, do func()) {
	done := make(chan struct{})
	p.leaving = append(p.leaving, done)
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
