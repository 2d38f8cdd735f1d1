package dump

import "github.com/embercache/ember/pagefile"

// A base is the newest durable generation: what the next one builds on. Only the
// goroutine that writes a durable generation changes it, under the cut mutex;
// that goroutine reads it without.
type base struct {
	record    *pagefile.Record     // nil: the directory is cold
	heads     [][fileQueues]uint64 // when its image was begun; nil: unknown
	imageSize int64
	blobBytes int64 // of the blobs since the image
	mirrored  bool  // its record is durable in both rings
}

// restored is the base that was opened.
func restored(s *Start) base {
	b := base{record: s.Record, mirrored: s.Record != nil && !s.MirrorMissing}
	if s.Record == nil {
		return b
	}
	for _, e := range s.Record.Blobs {
		b.blobBytes += int64(e.Length)
	}
	if s.Image != nil {
		b.imageSize = s.Image.Size()
		b.heads = imageHeads(s.Image, len(s.Record.Shards))
	}
	return b
}

// imageHeads is nil if a shard's entry is damaged: the next generation is full.
func imageHeads(m *pagefile.ImageReader, shards int) [][fileQueues]uint64 {
	heads := make([][fileQueues]uint64, shards)
	for i := range heads {
		s, err := m.Shard(i)
		if err != nil {
			return nil
		}
		heads[i] = s.Heads
	}
	return heads
}

// tails are the durable tails of a shard: what lies beyond is in no blob.
func (b *base) tails(shard int) [fileQueues]uint64 {
	if b.record == nil {
		return [fileQueues]uint64{}
	}
	return b.record.Shards[shard].Tails
}

// beyondLap reports whether a queue has gone further than slot words can tell
// from the head that the generation's image began with.
func (b *base) beyondLap(g *generation) bool {
	for i := range g.cut.Shards {
		heads := g.begun.Shards[i].State.Heads
		if !g.full {
			heads = b.heads[i]
		}
		if beyond(g.cut.Shards[i].State.Tails, heads, pagefile.Lap) {
			return true
		}
	}
	return false
}

// differs reports whether a cut has another state than the base.
func (b *base) differs(c *Cut) bool {
	if b.record == nil {
		return true
	}
	for i := range c.Shards {
		if c.Shards[i].State != b.record.Shards[i] {
			return true
		}
	}
	return false
}

// adopt makes a generation the base, once its record is durable. // I2
func (b *base) adopt(g *generation) {
	if g.full {
		b.imageSize, b.blobBytes = g.imageSize, 0
		b.heads = make([][fileQueues]uint64, len(g.begun.Shards))
		for i := range b.heads {
			b.heads[i] = g.begun.Shards[i].State.Heads
		}
	}
	b.blobBytes += int64(g.blob.Length)
	b.record, b.mirrored = g.record, false
}
