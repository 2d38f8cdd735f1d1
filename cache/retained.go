package cache

import (
	"context"
	"fmt"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// namedPlaces reads the tables of durable generations and tells which places of
// the page file they name. What a damaged table no longer tells nobody can open,
// and a page is proved by its checksum, not by its place.
func (p *persistence) namedPlaces(generations []uint64) (map[uint32]bool, error) {
	places := make(map[uint32]bool)
	for _, g := range generations {
		res, err := loader.Load(context.Background(), loader.Options{
			FS: p.fs, Dir: p.dir, Schema: p.schema, Generation: g, Durable: true, Positional: true,
		})
		if err != nil {
			return nil, err
		}
		err = res.Close()
		if res.Record == nil || res.PagesLost {
			return nil, fmt.Errorf("read generation %d: %w", g, res.Reason)
		}
		if err != nil {
			return nil, err
		}
		for i := range res.Shards {
			for _, seg := range res.Shards[i].Segments {
				if seg.Place != pagefile.NoPlace {
					places[seg.Place] = true
				}
			}
		}
	}
	return places, nil
}
