// Webservice is HTTP in front of SQLite with Ember as the cache, and what shows
// what that is good for: the service is deployed under load, once with Ember and
// once with a Go map, and a table and a chart say what the clients saw.
//
//	go -C examples/webservice run . deploy    # the comparison, three minutes
//	go -C examples/webservice run . serve     # the service alone, on localhost:8080
//	go -C examples/webservice run . load      # requests for it
//
// Without a word it is deploy. Package shop is the service.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/embercache/ember/examples/webservice/deploy"
	"github.com/embercache/ember/examples/webservice/load"
	"github.com/embercache/ember/examples/webservice/shop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "webservice:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	mode := "deploy"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		mode, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	switch mode {
	case "serve":
		return runServe(ctx, flags, args)
	case "load":
		return runLoad(ctx, flags, args)
	case "deploy":
		return runDeploy(ctx, flags, args)
	}
	return fmt.Errorf("%q is none of serve, load, deploy", mode)
}

func runServe(ctx context.Context, flags *flag.FlagSet, args []string) error {
	o := shop.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags.StringVar(&o.Addr, "addr", "localhost:8080", "where to listen")
	flags.StringVar(&o.Store.Path, "db", filepath.Join(os.TempDir(), "ember-webservice", "shop.db"), "SQLite file; made if there is none")
	products := flags.Int("products", 10000, "in a database that is made")
	flags.DurationVar(&o.Store.Latency, "db-latency", 5*time.Millisecond, "added to each query, for the database server that a file is not")
	flags.IntVar(&o.Store.Conns, "db-conns", 10, "queries at a time")
	flags.StringVar(&o.Cache, "cache", "ember", "ember or map")
	flags.StringVar(&o.CacheDir, "dir", "", "of the cache (default cache beside the database)")
	mib := flags.Int64("max", 64, "bound of the cache, in MiB")
	flags.BoolVar(&o.V2, "v2", false, "serve products with one more field")
	flags.BoolVar(&o.Migrate, "migrate", true, "with -v2: use what the version before has cached")
	flags.BoolVar(&o.Strict, "strict", false, "not ready while the cache cannot write its files")
	flags.DurationVar(&o.StartTimeout, "start-timeout", 30*time.Second, "for the process before this one to go")
	flags.DurationVar(&o.Grace, "grace", 10*time.Second, "from SIGTERM to the end of the process")
	flags.Parse(args)
	if flags.NArg() > 0 || o.Cache != "ember" && o.Cache != "map" || o.Store.Conns < 1 || o.Grace <= 0 {
		flags.Usage()
		os.Exit(2)
	}
	o.MaxBytes = *mib << 20
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(filepath.Dir(o.Store.Path), "cache")
	}
	if err := os.MkdirAll(filepath.Dir(o.Store.Path), 0o700); err != nil {
		return err
	}
	if err := shop.Seed(o.Store.Path, *products); err != nil {
		return err
	}
	return shop.Run(ctx, o)
}

// loadFlags are common to load and deploy.
func loadFlags(flags *flag.FlagSet, o *load.Options) {
	flags.Float64Var(&o.Rate, "rate", 2000, "requests per second, whether or not the answers keep up")
	flags.IntVar(&o.Products, "products", 10000, "in the database")
	flags.Float64Var(&o.Skew, "skew", 1.1, "exponent of the Zipf distribution, over 1")
	flags.Float64Var(&o.Flat, "flat", 20, "its offset: the higher, the less the first products stand out; at least 1")
	flags.Float64Var(&o.Absent, "absent", 0.01, "part of the requests that ask for products that do not exist")
	flags.Float64Var(&o.Writes, "writes", 0.01, "part of the requests that change a product")
	flags.Uint64Var(&o.Seed, "seed", 1, "of the random numbers")
}

func runLoad(ctx context.Context, flags *flag.FlagSet, args []string) error {
	var o load.Options
	loadFlags(flags, &o)
	flags.StringVar(&o.URL, "url", "http://localhost:8080", "of the service")
	length := flags.Duration("for", 30*time.Second, "how long")
	flags.Parse(args)
	if flags.NArg() > 0 {
		return fmt.Errorf("load: %q is no flag", flags.Arg(0))
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, *length)
	defer cancel()
	return load.Print(ctx, os.Stdout, o)
}

func runDeploy(ctx context.Context, flags *flag.FlagSet, args []string) error {
	var o deploy.Options
	loadFlags(flags, &o.Load)
	flags.StringVar(&o.Out, "out", ".", "folder for deploy.md, deploy.png and deploy.svg")
	flags.BoolVar(&o.Kill, "kill", false, "end the old process with SIGKILL, then start the new one")
	flags.DurationVar(&o.Warm, "warm", 25*time.Second, "of load before anything is measured")
	flags.DurationVar(&o.Before, "before", 5*time.Second, "measured before the restart")
	flags.DurationVar(&o.After, "after", 15*time.Second, "measured after the restart")
	flags.DurationVar(&o.Latency, "db-latency", 5*time.Millisecond, "added to each query, for the database server that a file is not")
	flags.IntVar(&o.Conns, "db-conns", 10, "queries at a time")
	small := flags.Bool("ci", false, "small and short, without files")
	flags.Parse(args)
	if flags.NArg() > 0 {
		return fmt.Errorf("deploy: %q is no flag", flags.Arg(0))
	}
	if *small {
		o.Load.Rate, o.Load.Products, o.Out = 200, 500, ""
		o.Warm, o.Before, o.After = 3*time.Second, 2*time.Second, 3*time.Second
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	return deploy.Run(ctx, os.Stdout, o)
}
