package pagefile

import (
	"encoding/binary"
	"fmt"
)

// Behind its last table an image may have ghosts, in blocks of their own: for
// each shard a table of words that say which keys left the cache lately. They are
// a hint. Nothing else of an image names them, they are not synced with it, and a
// block that is missing or does not verify holds none. The payload of such a block:
//
//	 0  shard     u32
//	 4  words     u32  of the shard's table
//	 8  first     u32  word that lies here
//	12  stamp     u32  of the youngest word
//	16  window    u32  stamps that count
//	20  reserved  12 bytes
//	32  words, 4 bytes each, 1000 a block
const (
	ghostsShard    = 0
	ghostsWords    = 4
	ghostsFirst    = 8
	ghostsStamp    = 12
	ghostsWindow   = 16
	ghostsReserved = 20
	ghostsHeader   = 32

	ghostWordSize = 4
)

// GhostsPerBlock is how many words of a table of ghosts lie in a block.
const GhostsPerBlock = (ImagePayload - ghostsHeader) / ghostWordSize

// GhostBucket is how many words a bucket of a table of ghosts has.
const GhostBucket = 16

// Ghosts are a shard's table of ghosts, or a block of one: a word is a fingerprint
// in the upper half and a stamp in the lower.
type Ghosts struct {
	Shard  int
	First  int // word that Words begins with
	Total  int // words of the table, a multiple of GhostBucket
	Stamp  uint16
	Window uint32
	Words  []uint32
}

// Validate reports what no block of ghosts can hold.
func (g *Ghosts) Validate(geometry Geometry) error {
	switch {
	case g.Shard < 0 || g.Shard >= geometry.Shards:
		return fmt.Errorf("ghosts of shard %d", g.Shard)
	case g.Total <= 0 || g.Total%GhostBucket != 0 || int64(g.Total) > int64(geometry.MaxBuckets())*8:
		return fmt.Errorf("a table of %d ghosts", g.Total)
	case g.First < 0 || g.First%GhostsPerBlock != 0 || g.First >= g.Total:
		return fmt.Errorf("ghost %d of %d", g.First, g.Total)
	case g.Window >= 1<<16:
		return fmt.Errorf("ghosts of %d stamps", g.Window)
	}
	return nil
}

// WriteGhosts appends a shard's table to an image that is finished. It does not
// sync: what a crash tears does not verify. After an error the image is what
// Finish made of it.
func (w *ImageWriter) WriteGhosts(g Ghosts) error {
	if w.err != nil {
		return w.err
	}
	b := make([]byte, 0, ImagePayload)
	for g.First = 0; g.First < len(g.Words); g.First += GhostsPerBlock {
		g.Total = len(g.Words)
		if err := g.Validate(w.header.Geometry); err != nil {
			return w.fail(fmt.Errorf("image: %w", err))
		}
		b = append32(b[:0], uint32(g.Shard), uint32(g.Total), uint32(g.First), uint32(g.Stamp), g.Window)
		b = appendZeroes(b, ghostsHeader-ghostsReserved)
		b = append32(b, g.Words[g.First:min(g.First+GhostsPerBlock, g.Total)]...)
		w.put(blockGhosts, b)
		w.endTable(blockGhosts)
	}
	w.flush()
	return w.err
}

// GhostBlocks is how many blocks lie behind the image's tables.
func (m *ImageReader) GhostBlocks() int {
	return int(min(m.blocks-min(m.layout.blocks, m.blocks), maxBlocks))
}

// Ghosts reads block i of those behind the tables into g, whose Words have room
// for GhostsPerBlock. After an error, which is no damage of the image, g has none.
func (m *ImageReader) Ghosts(i int, g *Ghosts) error {
	*g = Ghosts{Words: g.Words[:0]}
	buf := getBlock()
	defer putBlock(buf)
	if err := m.readBlock(buf[:], m.layout.blocks+uint64(i), blockGhosts); err != nil {
		return err
	}
	b := buf[:ImagePayload]
	read := Ghosts{
		Shard: int(le32(b, ghostsShard)), Total: int(le32(b, ghostsWords)), First: int(le32(b, ghostsFirst)),
		Stamp: uint16(le32(b, ghostsStamp)), Window: le32(b, ghostsWindow),
	}
	if err := read.Validate(m.header.Geometry); err != nil {
		return corrupt("block of ghosts %d: %v", i, err)
	}
	end := ghostsHeader + min(GhostsPerBlock, read.Total-read.First)*ghostWordSize
	if le32(b, ghostsStamp) >= 1<<16 || !allZero(b[ghostsReserved:ghostsHeader]) || !allZero(b[end:]) {
		return corrupt("block of ghosts %d: reserved bytes are set", i)
	}
	read.Words = g.Words
	for at := ghostsHeader; at < end; at += ghostWordSize {
		read.Words = append(read.Words, binary.LittleEndian.Uint32(b[at:]))
	}
	*g = read
	return nil
}
