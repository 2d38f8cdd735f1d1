package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/embercache/ember/cache"
)

// A service answers for products of one version.
type service[P any] struct {
	store    *Store
	view     view[P]
	make     func(Product) P
	revision func(P) int64
}

// maxList is the most products that one request may name.
const maxList = 100

func (s *service[P]) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", s.get)
	mux.HandleFunc("GET /products", s.list)
	mux.HandleFunc("PUT /products/{id}", s.put)
	return mux
}

func (s *service[P]) load(ctx context.Context, id int64) (P, error) {
	p, err := s.store.Product(ctx, id)
	return s.make(p), err
}

func (s *service[P]) loadMany(ctx context.Context, ids []int64) (map[int64]P, error) {
	found, err := s.store.Products(ctx, ids)
	made := make(map[int64]P, len(found))
	for id, p := range found {
		made[id] = s.make(p)
	}
	return made, err
}

// get answers for one product. The header X-Cache says whether that needed the
// database: by a load of this request, or of another that it waited for. Has is
// asked for this header only.
func (s *service[P]) get(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "the id is not a number", http.StatusBadRequest)
		return
	}
	cached := s.view.Has(id)
	var loaded atomic.Bool
	p, err := s.view.GetOrLoad(r.Context(), id, func(ctx context.Context, id int64) (P, error) {
		loaded.Store(true)
		return s.load(ctx, id)
	})
	how := "miss"
	if absent := errors.Is(err, cache.ErrNotFound); !loaded.Load() && (cached || absent) {
		how = "hit"
	}
	w.Header().Set("X-Cache", how)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, s.revision(p)))
	answer(w, p)
}

// list answers for the products named by ?ids=1,2,3, those that exist.
func (s *service[P]) list(w http.ResponseWriter, r *http.Request) {
	var ids []int64
	for word := range strings.SplitSeq(r.FormValue("ids"), ",") {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil || len(ids) == maxList {
			http.Error(w, fmt.Sprintf("ids takes 1 to %d numbers", maxList), http.StatusBadRequest)
			return
		}
		ids = append(ids, id)
	}
	found, err := s.view.GetOrLoadMany(r.Context(), ids, s.loadMany)
	if err != nil {
		fail(w, err)
		return
	}
	products := make([]P, 0, len(found))
	for _, id := range ids {
		if p, ok := found[id]; ok {
			products = append(products, p)
		}
	}
	answer(w, products)
}

// put changes a product, or makes it. The database comes first, then Delete: a
// load that has read the old product meanwhile loses to the Delete, and whoever
// asks after this answer loads again. Setting the new product instead would let
// two changes of one product leave the older in the cache.
func (s *service[P]) put(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	var change struct {
		Name       string `json:"name"`
		PriceCents int64  `json:"price_cents"`
	}
	if err == nil {
		err = json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&change)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	revision, err := s.store.Change(r.Context(), id, change.Name, change.PriceCents)
	s.view.Delete(id) // after an error, too: the change may have been made all the same
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, revision))
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}

func fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, cache.ErrNotFound):
		http.Error(w, "no such product", http.StatusNotFound)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, cache.ErrClosed):
		http.Error(w, "not in time", http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
