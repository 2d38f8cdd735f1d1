package loader

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/embercache/ember/pagefile"
)

// A source is an open file: read through its mapping if there is one.
type source struct {
	io.ReaderAt
	file    pagefile.File
	mapping pagefile.Mapping // nil: none
	mapped  int64            // bytes of it
	size    int64
}

func (s *source) Close() error {
	if s.mapping == nil {
		return s.file.Close()
	}
	return errors.Join(s.mapping.Close(), s.file.Close())
}

func openFile(fsys pagefile.FS, path string) (*source, error) {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &source{ReaderAt: file, file: file, size: size}, nil
}

// mapped maps the first n bytes of a file, or what it has of them. Where that
// cannot be, the file itself is read.
func (l *load) mapped(s *source, name string, n int64) {
	if n = min(n, s.size); l.Positional || n <= 0 {
		return
	}
	mapping, err := s.file.Map(n)
	if err != nil {
		l.met(Unmapped, name, 1, err)
		return
	}
	s.mapping, s.ReaderAt = mapping, mapping
	s.mapped = n
}

// openPages opens the page file, if the record has one.
func (l *load) openPages() {
	rec := l.res.Record
	if rec.PageFile == 0 {
		return
	}
	name := pagefile.FileName(pagefile.KindPages, rec.PageFile)
	src, err := openFile(l.FS, l.path(name))
	if err != nil {
		l.losePages(name, err)
		return
	}
	h, err := pagefile.ReadFileHeader(src, pagefile.KindPages, rec.PageFile)
	switch {
	case errors.Is(err, pagefile.ErrVersion):
		src.Close()
		l.refuse(name, err)
		return
	case err == nil && h.Geometry != rec.Geometry:
		src.Close()
		l.losePages(name, fmt.Errorf("%w: of directory %x", pagefile.ErrCorrupt, h.Geometry.DirID))
		return
	case err != nil:
		l.met(PagesDamaged, name, 1, err)
	}
	l.usable = rec.Places
	want := rec.Geometry.PlaceOffset(rec.Places)
	if missing := want - src.size; missing > 0 {
		size := int64(rec.Geometry.SegmentSize)
		l.usable = min(rec.Geometry.PlacesIn(src.size), rec.Places)
		l.met(PagesShort, name, int((missing+size-1)/size), nil)
	}
	l.mapped(src, name, want)
	l.res.Pages = src
	l.res.closers = append(l.res.closers, src)
}

func (l *load) losePages(name string, err error) {
	l.res.PagesLost = true
	l.met(PagesLost, name, 1, err)
}

// openImage opens the image, if the record has one.
func (l *load) openImage() {
	rec := l.res.Record
	if rec.Image == 0 {
		return
	}
	name := pagefile.FileName(pagefile.KindImage, rec.Image)
	src, err := openFile(l.FS, l.path(name))
	if err != nil {
		l.met(ImageLost, name, 1, err)
		return
	}
	l.mapped(src, name, src.size)
	image, err := pagefile.OpenImage(src, src.size, rec.Image)
	if err == nil && image.Header().Geometry != rec.Geometry {
		err = fmt.Errorf("%w: image of directory %x", pagefile.ErrCorrupt, image.Header().Geometry.DirID)
	}
	if err != nil {
		src.Close()
		if errors.Is(err, pagefile.ErrVersion) {
			l.refuse(name, err)
		} else {
			l.met(ImageLost, name, 1, err)
		}
		return
	}
	if missing := image.Size() - src.size; missing > 0 {
		l.met(ImageShort, name, int((missing+pagefile.PageSize-1)/pagefile.PageSize), nil)
	}
	l.res.Image = image
	l.res.closers = append(l.res.closers, src)
}
