package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"strings"
)

// A Summary is what the service answers with for one file, and what it caches
// because computing it means reading and parsing the file.
type Summary struct {
	Package string   `json:"package,omitempty"`
	Doc     string   `json:"doc,omitempty"`
	Symbols []Symbol `json:"symbols,omitempty"`
	Problem string   `json:"problem,omitempty"` // the first syntax error
}

// A Symbol is one exported identifier of a file.
type Symbol struct {
	Kind      string `json:"kind"` // const, var, type or func
	Name      string `json:"name"` // with its receiver's type before it
	Signature string `json:"signature,omitempty"`
	Doc       string `json:"doc,omitempty"`
}

// summarize reads and parses the Go file called name and encodes its Summary.
// The same file always gives the same bytes.
func summarize(name string) ([]byte, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return summarizeSource(src)
}

func summarizeSource(src []byte) ([]byte, error) {
	var s Summary
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		s.Problem = err.Error()
	}
	if file != nil {
		s.Package = file.Name.Name
		s.Doc = file.Doc.Text()
		for _, d := range file.Decls {
			s.Symbols = append(s.Symbols, symbols(fset, d)...)
		}
	}
	return json.Marshal(s)
}

// symbols returns what d exports.
func symbols(fset *token.FileSet, d ast.Decl) []Symbol {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return function(fset, d)
	case *ast.GenDecl:
		var list []Symbol
		for _, spec := range d.Specs {
			list = append(list, specified(fset, d, spec)...)
		}
		return list
	}
	return nil
}

func function(fset *token.FileSet, d *ast.FuncDecl) []Symbol {
	name := d.Name.Name
	if d.Recv != nil && len(d.Recv.List) > 0 {
		name = strings.TrimLeft(source(fset, d.Recv.List[0].Type), "*") + "." + name
	}
	if !d.Name.IsExported() || !ast.IsExported(name) {
		return nil
	}
	head := &ast.FuncDecl{Recv: d.Recv, Name: d.Name, Type: d.Type}
	return []Symbol{{"func", name, source(fset, head), d.Doc.Text()}}
}

func specified(fset *token.FileSet, d *ast.GenDecl, spec ast.Spec) []Symbol {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			return []Symbol{{"type", s.Name.Name, source(fset, s), commentOn(d, s.Doc, s.Comment)}}
		}
	case *ast.ValueSpec:
		var list []Symbol
		for _, name := range s.Names {
			if name.IsExported() {
				list = append(list, Symbol{d.Tok.String(), name.Name, source(fset, s.Type), commentOn(d, s.Doc, s.Comment)})
			}
		}
		return list
	}
	return nil
}

// commentOn returns the comment nearest to a specification in d.
func commentOn(d *ast.GenDecl, doc, line *ast.CommentGroup) string {
	for _, g := range []*ast.CommentGroup{doc, line, d.Doc} {
		if text := g.Text(); text != "" {
			return text
		}
	}
	return ""
}

// source prints n as Go source, or nothing if there is no n or it is broken.
func source(fset *token.FileSet, n ast.Node) string {
	if n == nil {
		return ""
	}
	var buf bytes.Buffer
	if err := printer.Fprint(&buf, fset, n); err != nil {
		return fmt.Sprint("(", err, ")")
	}
	return buf.String()
}
