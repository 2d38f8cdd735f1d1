package cache

import "github.com/embercache/ember/pagefile"

// Ghosts are saved with each image, and read in the background after Open. They
// are a hint: one that is missing, damaged or outdated costs nothing but a place in
// the wrong queue, and is not reported.

// copyGhosts bounds how long Ghosts holds the lock, in words.
const copyGhosts = 4 << 10

// Ghosts copies a shard's ghosts for an image. Those of MemoryOnly entries are not
// among them.
func (k cutter) Ghosts(shard int) pagefile.Ghosts {
	s := k.c.shards[shard]
	g := &s.ghosts[0]
	out := pagefile.Ghosts{Shard: shard}
	s.mu.Lock()
	table := g.table
	s.mu.Unlock()
	out.Words = make([]uint32, len(table))
	for from := 0; from < len(table); from += copyGhosts {
		s.mu.Lock()
		copy(out.Words[from:], table[from:min(from+copyGhosts, len(table))])
		out.Stamp, out.Window = g.stamp, g.window
		s.mu.Unlock()
	}
	return out
}

// loadGhosts reads the ghosts that the opened image has.
func (c *Cache) loadGhosts(image *pagefile.ImageReader) {
	var table pagefile.Ghosts // of one shard
	block := pagefile.Ghosts{Words: make([]uint32, 0, pagefile.GhostsPerBlock)}
	for i := range image.GhostBlocks() {
		select {
		case <-c.stop:
			return
		default:
		}
		if image.Ghosts(i, &block) != nil {
			continue
		}
		if block.Shard >= len(c.shards) || block.Total > c.shards[block.Shard].mostGhosts() {
			continue
		}
		if block.Shard != table.Shard || block.Total != len(table.Words) {
			c.shards[table.Shard].adoptGhosts(&table)
			table = block
			table.Words = make([]uint32, block.Total)
		}
		copy(table.Words[block.First:], block.Words)
	}
	c.shards[table.Shard].adoptGhosts(&table)
}

// adoptGhosts takes over a table from a file, whose youngest are as old as this
// process. If there are ghosts already it passes for the table before theirs.
func (s *shard) adoptGhosts(from *pagefile.Ghosts) {
	if len(from.Words) == 0 {
		return
	}
	for i, w := range from.Words {
		if w != 0 {
			from.Words[i] = w&^0xffff | uint32(uint16(w)-from.Stamp)
		}
	}
	s.lock()
	defer s.unlock()
	g := &s.ghosts[0]
	if len(g.table) == 0 {
		g.table, g.window = from.Words, from.Window
	} else {
		g.older, g.left = from.Words, from.Window+1
	}
	g.size()
}
