package shop

import (
	"context"
	"errors"
	"expvar"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/embercache/ember/cache"
)

// Options configure a server. All fields are required but V2, Migrate, Strict.
type Options struct {
	Addr     string
	Store    StoreOptions
	Cache    string // "ember" or "map"
	CacheDir string
	MaxBytes int64 // bounds either cache
	V2       bool  // serve the product with one more field
	Migrate  bool  // and make it of what the version before has cached
	Strict   bool  // a cache that cannot write its files makes the service unready

	StartTimeout time.Duration // for the process before this one to go
	Grace        time.Duration // from the end of ctx until Run returns
	Logger       *slog.Logger
}

// A server is one run of the service.
type server struct {
	Options
	store *Store

	running  atomic.Int64 // requests for products
	opening  sync.WaitGroup
	cache    *cache.Cache  // nil with a map
	products http.Handler  // of either version
	opened   chan struct{} // closed when both are set

	mu       sync.Mutex
	notReady string // why not; "" when ready
}

// Run serves until ctx ends, then stops within Options.Grace and returns nil.
func Run(ctx context.Context, o Options) error {
	s := &server{Options: o, opened: make(chan struct{}), notReady: "opening the cache"}
	var err error
	if s.store, err = OpenStore(o.Store); err != nil {
		return err
	}
	defer s.store.Close()

	// Requests outlive ctx: they are what the grace period is for.
	requests, cancelRequests := context.WithCancel(context.Background())
	defer cancelRequests()
	web := &http.Server{
		Handler:           s.routes(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s.opening.Go(func() {
		if err := s.open(running); err != nil {
			fail(err)
		}
	})
	go func() { fail(s.listen(running, web)) }()
	<-running.Done()
	if ctx.Err() == nil {
		err = context.Cause(running)
	}
	s.stop(web, cancelRequests)
	return err
}

// listen serves as soon as the process before this one gives up the address.
func (s *server) listen(ctx context.Context, web *http.Server) error {
	last := time.Now().Add(s.StartTimeout)
	for {
		l, err := net.Listen("tcp", s.Addr)
		if err == nil {
			s.Logger.Info("listening", "event", "listening", "addr", l.Addr().String())
			return web.Serve(l)
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(last) {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open opens the cache and lets requests in.
func (s *server) open(ctx context.Context) (err error) {
	if s.Cache == "ember" {
		if s.cache, err = openCache(ctx, s.Options); err != nil {
			return err
		}
		expvar.Publish("cache", expvar.Func(func() any { return s.cache.Stats() }))
		s.say("catching up with the database")
	}
	if s.products, err = s.handler(ctx); err != nil {
		return err
	}
	close(s.opened)
	s.say("")
	return nil
}

func (s *server) handler(ctx context.Context) (http.Handler, error) {
	if s.V2 {
		v, err := s.viewV2()
		if err != nil {
			return nil, err
		}
		return serve(ctx, s, &service[ProductV2]{store: s.store, view: v, make: upgrade, revision: func(p ProductV2) int64 { return p.Revision }})
	}
	v, err := s.viewV1()
	if err != nil {
		return nil, err
	}
	return serve(ctx, s, &service[Product]{store: s.store, view: v, make: func(p Product) Product { return p }, revision: func(p Product) int64 { return p.Revision }})
}

func (s *server) viewV1() (view[Product], error) {
	if s.cache == nil {
		return newPlain(s.MaxBytes, Product.size), nil
	}
	return viewV1(s.cache)
}

func (s *server) viewV2() (view[ProductV2], error) {
	if s.cache == nil {
		return newPlain(s.MaxBytes, ProductV2.size), nil
	}
	return viewV2(s.cache, s.Migrate)
}

func serve[P any](ctx context.Context, s *server, products *service[P]) (http.Handler, error) {
	if s.cache != nil {
		if err := catchUp(ctx, products, s.cache, s.Logger); err != nil {
			return nil, err
		}
	}
	return products.handler(), nil
}

// stop ends within the grace period: half of it for the requests that run, a
// quarter for those that had to be cancelled, and the cache has what is left. A
// cache that is not closed in time has its files as they are after a kill.
func (s *server) stop(web *http.Server, cancelRequests func()) {
	s.say("stopping")
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), s.Grace)
	defer cancel()
	if err := shutdown(ctx, web, s.Grace/2); err != nil {
		s.Logger.Warn("requests are cancelled", "event", "drain", "err", err)
		cancelRequests()
		if err := shutdown(ctx, web, s.Grace/4); err != nil {
			s.Logger.Error("requests do not end", "event", "drain", "err", err)
		}
	}
	drained := time.Since(began)
	s.opening.Wait()
	if s.cache != nil {
		if err := s.cache.Shutdown(ctx); err != nil {
			s.Logger.Warn("cache not closed", "event", "stopped", "err", err)
		}
	}
	s.Logger.Info("stopped", "event", "stopped", "drained", drained, "cache", time.Since(began)-drained)
}

func shutdown(ctx context.Context, web *http.Server, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return web.Shutdown(ctx)
}

// say sets why the service is not ready; "" means that it is. What stops does
// not become ready again.
func (s *server) say(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notReady != "stopping" {
		s.notReady = why
	}
}
