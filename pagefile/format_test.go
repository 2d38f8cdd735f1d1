package pagefile

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docs/FORMAT.md describes the format for people; these tests hold it, the
// diagrams beside the constants, and the constants together.

// formatOffsets lists offsets by heading of docs/FORMAT.md and field.
var formatOffsets = map[string]map[string]int{
	"Geometry": {
		"shards": geometryShards, "segment size": geometrySegmentSize, "base buckets": geometryBaseBuckets,
		"reserved": geometryReserved, "seed": geometrySeed, "directory id": geometryDirID, "": geometrySize,
	},
	"File header": {
		"magic": 0, "version": fileVersion, "kind": fileKind, "reserved": fileReserved, "id": fileID,
		"geometry": fileGeometry, "checksum": fileChecksum, "": fileHeaderSize,
	},
	"Segment": {
		"number": segmentNumber, "queue": segmentWhere, "place": segmentPlace, "fill": segmentFill, "": segmentSize,
	},
	"Shard state": {
		"heads": stateHeads, "tails": stateTails, "buckets": stateBuckets, "entries": stateEntries,
		"live": stateLive, "": stateSize,
	},
	"Blob": {
		"magic": 0, "version": blobVersion, "kind": blobKind, "number": blobNumber, "lineage": blobLineage,
		"opens": blobOpens, "prev": blobPrev, "length": blobLength, "clock": blobClock, "sections": blobSections,
		"reserved": blobReserved, "section references, 32 bytes each:": blobFixed,
	},
	"Section": {
		"shard": sectionShard, "flags": sectionFlags, "state": sectionState, "entries": sectionEntries,
		"segments": sectionSegments, "runs": sectionRuns, "sums": sectionSums, "pieces": sectionPieces,
		"died": sectionDied, "reserved": sectionReserved, "segments, 24 bytes each": sectionHeader,
	},
	"Image": {
		"payload": 0, "image id": blockImage, "dir id": blockDir, "block": blockNumber, "kind": blockKind,
		"version": blockVersion, "reserved": blockReserved, "checksum": blockChecksum, "": blockSize,
	},
	"Image header": {
		"file header": 0, "lineage": imageLineage, "index blocks": imageIndexBlocks, "segments": imageSegments,
		"zeroes": imageReserved,
	},
	"Ghosts": {
		"shard": ghostsShard, "words": ghostsWords, "first": ghostsFirst, "stamp": ghostsStamp,
		"window": ghostsWindow, "reserved": ghostsReserved, "words, 4 bytes each, 1000 a block": ghostsHeader,
	},
	"Shard table entry": {
		"segments": shardSegments, "buckets": shardBuckets, "first segment": shardFirstSegment,
		"first block": shardFirstBlock, "heads": shardHeads, "tails": shardTails, "reserved": shardReserved,
		"": shardSize,
	},
	"Live log": {
		"magic": 0, "version": 4, "session": 8, "shards": 24, "size": 32, "checksum": 40, "bases": liveBases,
		"broken": liveBroken, "intents": liveIntents, "areas": liveAreas,
	},
	"Live extent": {
		"size": 0, "shard": 4, "used": extentUsed, "next": extentNext, "seq": extentSeq, "groups": liveExtent,
	},
	"Live group": {
		"length": 0, "checksum": 8, "tag": 16, "state": 24,
		"items, each kind u8, queue u8, reserved u16, and then": liveGroup,
	},
	"Live intent": {
		"checksum": 0, "length": 8, "kind": 12, "reserved": 13, "seq": 16, "payload": liveIntent,
	},
	"Record": {
		"magic": 0, "version": recordVersion, "flags": recordFlags, "length": recordLength,
		"geometry": recordGeometry, "generation": recordNumbers, "image": recordNumbers + 40, "weak": recordWeak,
		"entries": recordCounts, "clock": recordClock, "wall": recordWall, "boot id": recordBootID,
		"places": recordPlaces, "extents": recordLists, "schema": recordLists + 6, "reserved": recordReserved,
		"shard states, 48 bytes each": recordHeader,
	},
}

// A diagram is a text block under a heading.
type diagram struct {
	heading string
	lines   []string
}

func readDiagrams(t *testing.T) (list []diagram) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "FORMAT.md"))
	if err != nil {
		t.Fatal(err)
	}
	heading, inside := "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "```text":
			inside = true
			list = append(list, diagram{heading: heading})
		case line == "```":
			inside = false
		case inside:
			last := &list[len(list)-1]
			last.lines = append(last.lines, line)
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		}
	}
	return list
}

func TestDiagramsOfDocAndSourceAgree(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var comments strings.Builder
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(src)) {
			comments.WriteString(strings.TrimPrefix(line, "//\t"))
		}
	}
	for _, d := range readDiagrams(t) {
		if !strings.Contains(comments.String(), strings.Join(d.lines, "\n")+"\n") {
			t.Errorf("%s: no comment in the source has this diagram", d.heading)
		}
	}
}

var (
	diagramLine  = regexp.MustCompile(`^ *(\d+)(?:  +(.*?))?(?:  +(.*))?$`)
	diagramWidth = regexp.MustCompile(`^(?:(\d+) )?(bytes|[ui](\d+))\b`)
)

// widthOf is how many bytes "u32", "2 u64" or "8 bytes" are, 0 if it is none.
func widthOf(text string) int {
	m := diagramWidth.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, size := 1, 1
	if m[1] != "" {
		n, _ = strconv.Atoi(m[1])
	}
	if m[3] != "" {
		bits, _ := strconv.Atoi(m[3])
		size = bits / 8
	}
	return n * size
}

func TestDiagramsAndConstantsAgree(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range readDiagrams(t) {
		want := formatOffsets[d.heading]
		found, next := map[string]bool{}, -1
		for _, line := range d.lines {
			m := diagramLine.FindStringSubmatch(line)
			if m == nil || strings.HasPrefix(line, "     ") {
				continue // text, or part of another structure
			}
			offset, _ := strconv.Atoi(m[1])
			if next >= 0 && offset != next {
				t.Errorf("%s: %q begins at %d, the field before it ends at %d", d.heading, m[2], offset, next)
			}
			next = -1
			if width := widthOf(m[3]); width > 0 {
				next = offset + width
			}
			if w, ok := want[m[2]]; ok {
				found[m[2]] = true
				if offset != w {
					t.Errorf("%s: %q at %d, the constant says %d", d.heading, m[2], offset, w)
				}
			}
		}
		for field := range want {
			if !found[field] {
				t.Errorf("%s: no field %q", d.heading, field)
			}
		}
		seen[d.heading] = true
	}
	for heading := range formatOffsets {
		if !seen[heading] {
			t.Errorf("%s: no diagram", heading)
		}
	}
}

// A width of a list is that of its encoding.
func TestSizesOfDiagrams(t *testing.T) {
	if got := len(sampleGeometry().append(nil)); got != geometrySize {
		t.Errorf("geometry: %d bytes", got)
	}
	if b, _ := sampleRecord().append(nil); recordSize(2, 3, 3, 7) != len(b) {
		t.Errorf("record: %d bytes, recordSize says %d", len(b), recordSize(2, 3, 3, 7))
	}
	s := sampleSection(0)
	c, _ := s.count()
	if got := len(s.appendMeta(nil, c)); uint64(got)+c.entries*JournalEntrySize != c.size() {
		t.Errorf("section: %d bytes, size says %d", got, c.size())
	}
	h := BlobHeader{Sections: make([]SectionRef, 3)}
	if b, _ := h.append(nil); int64(len(b)) != headerSize(3) {
		t.Errorf("blob header: %d bytes, headerSize says %d", len(b), headerSize(3))
	}
	if headerSize(MaxShards) != maxBlobHeader {
		t.Errorf("blob header: at most %d bytes, maxBlobHeader is %d", headerSize(MaxShards), maxBlobHeader)
	}
}
