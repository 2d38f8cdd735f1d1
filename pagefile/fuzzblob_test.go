package pagefile

import (
	"bytes"
	"io"
	"reflect"
	"testing"

	"github.com/embercache/ember/internal/fuzzing"
)

// A countingReader counts the bytes that are asked for: what bounds the time that
// bytes can cost.
type countingReader struct {
	io.ReaderAt
	asked int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.asked += len(p)
	return r.ReaderAt.ReadAt(p, off)
}

// blobTarget: from memory and from a file a blob is the same, and what is accepted
// encodes to the same bytes.
func blobTarget(tb testing.TB) *fuzzing.Target {
	scratch := make([]byte, PageSize)
	check := func(t testing.TB, b []byte, mode byte) bool {
		if mode == sealed {
			resealBlob(b)
		}
		file := &countingReader{ReaderAt: bytes.NewReader(b)}
		_, _, fileErr := VerifyBlob(file, 0, int64(len(b)), scratch)
		blob, err := ReadBlob(b)
		if err == nil {
			compareSections(t, file, blob)
			err = blob.Verify()
		} else {
			refused(t, err)
		}
		if (err == nil) != (fileErr == nil) {
			t.Fatalf("from memory %v, from a file %v", err, fileErr)
		}
		if file.asked > 4*len(b)+2*maxBlobHeader {
			t.Errorf("%d bytes read of %d", file.asked, len(b))
		}
		if err == nil {
			encodeAgain(t, b, blob)
		}
		return err == nil
	}
	small, _ := encodeBlob(tb, sampleBlobHeader(BlobWeak), sampleSection(1))
	empty, _ := encodeBlob(tb, sampleBlobHeader(BlobWeak))
	seeds := fuzzing.Inputs(sealings, sampleBlob(tb, BlobDurable), small, empty)
	return &fuzzing.Target{Name: "FuzzBlob", Seeds: seeds, Modes: sealings, Most: 8 << 10, Check: check}
}

// compareSections reads each section in both ways.
func compareSections(t testing.TB, file io.ReaderAt, blob *Blob) {
	for i := range blob.Header.Sections {
		s, metaErr, dataErr := blob.Section(i)
		fromFile, fileMetaErr, fileDataErr := ReadSection(file, 0, &blob.Header, i)
		if (metaErr == nil) != (fileMetaErr == nil) || (dataErr == nil) != (fileDataErr == nil) || !reflect.DeepEqual(s, fromFile) {
			t.Fatalf("section %d: from memory %v and %v, from a file %v and %v", i, metaErr, dataErr, fileMetaErr, fileDataErr)
		}
		if dataErr != nil && len(s.Pieces) != 0 {
			t.Fatalf("section %d has %d pieces that do not verify", i, len(s.Pieces))
		}
	}
}

// encodeAgain wants the bytes of a blob that verifies from what it decodes to.
func encodeAgain(t testing.TB, b []byte, blob *Blob) {
	var again BlobBuilder
	again.Reset(blob.Header)
	for i := range blob.Header.Sections {
		s, metaErr, dataErr := blob.Section(i)
		if metaErr != nil {
			return
		}
		if dataErr != nil {
			t.Fatalf("verified, but data of section %d: %v", i, dataErr)
		}
		if err := again.Add(s); err != nil {
			t.Fatalf("section %d was read, but does not encode: %v", i, err)
		}
	}
	out := new(memFile)
	if _, _, err := again.WriteTo(out, 0); err != nil || !bytes.Equal(out.b, b[:blob.Header.Length]) {
		t.Fatalf("accepted %d bytes that encode to %d others: %v", blob.Header.Length, len(out.b), err)
	}
}

// sectionTarget: a meta part by itself. Its data is as long as it says, in mode 1 a
// byte longer.
func sectionTarget(tb testing.TB) *fuzzing.Target {
	const most = 1 << 20
	data := make([]byte, most)
	var s Section
	check := func(t testing.TB, b []byte, mode byte) bool {
		n := piecesSay(b)
		if err := s.decodeMeta(b, n+uint64(mode)); err != nil {
			return refused(t, err)
		}
		if mode == 1 {
			t.Fatalf("accepted with %d bytes of data too many", mode)
		}
		if n > most {
			return true
		}
		s.setData(b, data[:n])
		if err := s.Validate(); err != nil {
			t.Fatalf("decoded what is not valid: %v", err)
		}
		counts, length := s.count()
		again := s.appendMeta(nil, counts)
		for _, j := range s.Journal {
			again = append(again, j...)
		}
		if !bytes.Equal(again, b) || length != n {
			t.Fatalf("%x decodes, and is written as %x with %d bytes of data, want %d", b, again, length, n)
		}
		return true
	}
	meta := func(s *Section) []byte {
		counts, _ := s.count()
		return append(s.appendMeta(nil, counts), bytes.Join(s.Journal, nil)...)
	}
	seeds := fuzzing.Inputs(2, meta(sampleSection(0)), meta(sampleSection(1)), meta(&Section{State: sampleState(0)}))
	return &fuzzing.Target{Name: "FuzzSection", Seeds: seeds, Modes: 2, Most: 4 << 10, Check: check}
}

// piecesSay adds up what a meta part says of its pieces, as far as they are there.
func piecesSay(b []byte) (n uint64) {
	if len(b) < sectionHeader {
		return 0
	}
	at := sectionHeader + uint64(le32(b, sectionSegments))*segmentSize + uint64(le32(b, sectionRuns))*runSize
	for range le32(b, sectionPieces) {
		if at+pieceSize > uint64(len(b)) {
			break
		}
		n += uint64(le32(b, int(at)+12))
		at += pieceSize
	}
	return n
}
