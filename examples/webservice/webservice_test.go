package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/examples/webservice/deploy"
	"github.com/embercache/ember/examples/webservice/load"
	"github.com/embercache/ember/examples/webservice/shop"
)

// The server of these tests is a process of its own: this test binary, started
// again with the arguments of serve.
const childEnv = "EMBER_WEBSERVICE_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Setenv(childEnv, "1")
	os.Exit(m.Run())
}

const products = 500

// A site is a database, a cache directory and an address.
type site struct {
	t    *testing.T
	dir  string
	addr string
}

func newSite(t *testing.T) *site {
	t.Helper()
	addr, err := deploy.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), addr: addr}
	if err := shop.Seed(s.db(), products); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("the servers said:\n%s", b)
		}
	})
	return s
}

func (s *site) db() string  { return filepath.Join(s.dir, "shop.db") }
func (s *site) url() string { return "http://" + s.addr }

// start starts a server, which ends with the test.
func (s *site) start(flags ...string) *deploy.Process {
	s.t.Helper()
	command := append([]string{os.Args[0], "serve", "-addr", s.addr, "-db", s.db(), "-db-latency", "0"}, flags...)
	p, err := deploy.Start(s.t.Context(), filepath.Join(s.dir, "log"), command...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Wait() })
	return p
}

// startReady is start, and waits until it is ready; it returns what /readyz says.
func (s *site) startReady(flags ...string) (*deploy.Process, string) {
	s.t.Helper()
	p := s.start(flags...)
	said, err := p.WaitReady(s.t.Context(), s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	return p, said
}

// end ends a server by a signal. After SIGTERM its exit status must be 0.
func (s *site) end(p *deploy.Process, sig syscall.Signal) {
	s.t.Helper()
	if err := p.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	if err := p.Wait(); sig == syscall.SIGTERM && err != nil {
		s.t.Errorf("got %v from a server after SIGTERM, want exit status 0", err)
	}
}

// A reply is an answer of the service.
type reply struct {
	status   int
	cache    string
	revision string
	body     string
}

// ask sends a request; without an answer the test fails and the reply is empty.
func (s *site) ask(method, path, body string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url()+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return reply{}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return reply{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return reply{resp.StatusCode, resp.Header.Get("X-Cache"), resp.Header.Get("ETag"), string(b)}
}

func (s *site) product(id int) reply { return s.ask("GET", fmt.Sprint("/products/", id), "") }

func (s *site) change(id int) reply {
	return s.ask("PUT", fmt.Sprint("/products/", id), `{"name": "changed", "price_cents": 700}`)
}

// readAll asks for every product once and returns the hit ratio.
func (s *site) readAll(check func(id int, r reply)) float64 {
	s.t.Helper()
	var hits atomic.Int64
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for id := part + 1; id <= products; id += 4 {
				r := s.product(id)
				if r.status != http.StatusOK {
					s.t.Errorf("product %d: got status %d, want 200: %s", id, r.status, r.body)
				}
				if check != nil {
					check(id, r)
				}
				if r.cache == "hit" {
					hits.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(hits.Load()) / products
}

// waitKept waits until what was stored so far survives a kill.
func (s *site) waitKept() {
	s.t.Helper()
	kept := func() (durable, weak float64) {
		var stats struct {
			Cache struct{ Generation, WeakGenerations float64 }
		}
		if err := json.Unmarshal([]byte(s.ask("GET", "/stats", "").body), &stats); err != nil {
			s.t.Fatal(err)
		}
		return stats.Cache.Generation, stats.Cache.WeakGenerations
	}
	durable, _ := kept()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if now, _ := kept(); now > durable {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("no generation in a minute")
		}
	}
}

func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name, cache string
		signal      syscall.Signal
		warm        bool
	}{
		{"Ember is warm after SIGTERM", "ember", syscall.SIGTERM, true},
		{"Ember is warm after SIGKILL", "ember", syscall.SIGKILL, true},
		{"a map is cold after SIGTERM", "map", syscall.SIGTERM, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, _ := s.startReady("-cache", c.cache)
			if got := s.readAll(nil); got != 0 {
				t.Errorf("got a hit ratio of %.3f from a new cache, want 0", got)
			}
			if got := s.readAll(nil); got != 1 {
				t.Errorf("got a hit ratio of %.3f from the second reading, want 1", got)
			}
			if c.signal == syscall.SIGKILL {
				s.waitKept()
			}
			s.end(p, c.signal)
			p, said := s.startReady("-cache", c.cache)
			if got := s.readAll(nil); (got > 0.9) != c.warm || (got < 0.1) == c.warm {
				t.Errorf("got a hit ratio of %.3f after the restart; warm: %v", got, c.warm)
			}
			if got := strings.Contains(said, "recovery: warm"); got != c.warm {
				t.Errorf("got warm %v from /readyz, want %v: %s", got, c.warm, said)
			}
			s.end(p, syscall.SIGTERM)
		})
	}
}

func TestNewField(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		warm  bool
	}{
		{"a new field is migrated, and the cache is warm", []string{"-v2"}, true},
		{"a new field without Migrate is a miss", []string{"-v2", "-migrate=false"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, _ := s.startReady()
			s.readAll(nil)
			s.end(p, syscall.SIGTERM)
			p, _ = s.startReady(c.flags...)
			got := s.readAll(func(id int, r reply) {
				var v shop.ProductV2
				if err := json.Unmarshal([]byte(r.body), &v); err != nil || v.ID != int64(id) {
					t.Errorf("product %d: got %s, %v", id, r.body, err)
				}
				if want := v.PriceCents * 1000 / v.WeightGrams; v.CentsPerKilo != want {
					t.Errorf("product %d: got %d cents a kilo, want %d", id, v.CentsPerKilo, want)
				}
			})
			if c.warm && got < 0.9 || !c.warm && got > 0 {
				t.Errorf("got a hit ratio of %.3f after the deploy; warm: %v", got, c.warm)
			}
			if got := s.readAll(nil); got != 1 {
				t.Errorf("got a hit ratio of %.3f from the second reading, want 1", got)
			}
			s.end(p, syscall.SIGTERM)
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, kind := range []string{"ember", "map"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p, _ := s.startReady("-cache", kind)
			for _, c := range []struct {
				law  string
				got  reply
				want reply // without a body
			}{
				{"a first read is a miss", s.product(1), reply{200, "miss", `"1"`, ""}},
				{"a second read is a hit", s.product(1), reply{200, "hit", `"1"`, ""}},
				{"a change has a new revision", s.change(1), reply{204, "", `"2"`, ""}},
				{"a read after a change sees it", s.product(1), reply{200, "miss", `"2"`, ""}},
				{"what does not exist is looked for", s.product(absent), reply{404, "miss", "", ""}},
				{"and then known to be absent", s.product(absent), reply{404, "hit", "", ""}},
				{"until it is made", s.change(absent), reply{204, "", `"1"`, ""}},
				{"a read sees what was made", s.product(absent), reply{200, "miss", `"1"`, ""}},
				{"a list has what exists", s.ask("GET", "/products?ids=2,3,100000", ""), reply{200, "", "", ""}},
				{"and leaves it in the cache", s.product(3), reply{200, "hit", `"1"`, ""}},
				{"and what does not exist, too", s.product(100000), reply{404, "hit", "", ""}},
				{"an id is a number", s.ask("GET", "/products/x", ""), reply{400, "", "", ""}},
				{"a list has a bound", s.ask("GET", "/products?ids=1"+strings.Repeat(",1", 100), ""), reply{400, "", "", ""}},
			} {
				got := c.got
				got.body = ""
				if got != c.want {
					t.Errorf("%s: got %+v, want %+v", c.law, c.got, c.want)
				}
			}
			s.end(p, syscall.SIGTERM)
		})
	}
}

// TestNothingOutdated has clients that read and change a few products while the
// service is restarted. No read may return a revision older than one that was
// acknowledged before the read was sent.
func TestNothingOutdated(t *testing.T) {
	for _, c := range []struct {
		name, cache string
		signal      syscall.Signal
	}{
		{"a change is not undone by SIGTERM", "ember", syscall.SIGTERM},
		{"a change is not undone by SIGKILL", "ember", syscall.SIGKILL},
		{"a change of a map is not undone by a load", "map", syscall.SIGTERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			flags := []string{"-cache", c.cache, "-db-latency", "5ms"} // so that loads and changes overlap
			p, _ := s.startReady(flags...)
			l := load.New(load.Options{URL: s.url(), Rate: 400, Products: 20, Skew: 1.1, Flat: 5, Writes: 0.3, Seed: 1})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.Run(ctx)
			}()
			if c.cache == "ember" {
				s.waitKept()
			}
			for range 3 {
				s.end(p, c.signal)
				p, _ = s.startReady(flags...)
				for range 20 {
					s.change(1) // so that the process has done something when it ends
					s.product(1)
				}
			}
			stop()
			<-done
			sum := load.Sum(l.Samples(), time.Now().Add(-time.Hour), 2*time.Hour, 1)[0]
			t.Logf("%+v", sum)
			if sum.Outdated > 0 {
				t.Errorf("got %d outdated answers, want 0", sum.Outdated)
			}
			if sum.Counts[load.Hit] == 0 || sum.Counts[load.Write] == 0 {
				t.Errorf("got %d hits and %d changes: nothing was tried", sum.Counts[load.Hit], sum.Counts[load.Write])
			}
			s.end(p, syscall.SIGTERM)
		})
	}
}

// TestChangedWhileDown: as if a process had been killed between a change and the
// Delete after it.
func TestChangedWhileDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, _ := s.startReady()
	s.readAll(nil)
	s.product(absent)
	s.end(p, syscall.SIGTERM)
	store, err := shop.OpenStore(shop.StoreOptions{Path: s.db(), Conns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, id := range []int64{7, absent} {
		if _, err := store.Change(t.Context(), id, "changed", 1); err != nil {
			t.Fatal(err)
		}
	}
	p, _ = s.startReady()
	if got, want := s.product(7).revision, `"2"`; got != want {
		t.Errorf("got revision %s of what was changed, want %s", got, want)
	}
	if got, want := s.product(absent).status, 200; got != want {
		t.Errorf("got status %d of what was made, want %d", got, want)
	}
	if got, want := s.readAll(nil), 1.0; got != want {
		t.Errorf("got a hit ratio of %.3f of all others, want %v", got, want)
	}
	s.end(p, syscall.SIGTERM)
}
