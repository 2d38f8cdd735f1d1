package ember

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The house rules as tests. Each rule is a function from a tree of files to
// what is wrong in it; TestTidy applies all of them to this repository, and
// TestTidyFindsFaults shows each of them a tree that breaks it.

const (
	modulePath = "github.com/embercache/ember"

	maxFileLines     = 500
	maxTestFileLines = 800
	maxFuncLines     = 70
	longFuncLines    = 40 // nine functions in ten are shorter
	fewFuncs         = 10 // a package with fewer is not held to nine in ten
)

const (
	modSys    = "golang.org/x/sys"
	modXxhash = "github.com/cespare/xxhash/v2"
	modLz4    = "github.com/pierrec/lz4/v4"
)

// A floor says what a directory and those below it may import beyond the
// standard library. A name without a dot in its first part is a package of ours.
type floor struct {
	dir string
	may []string
}

// floors is ordered: the first match counts.
var floors = []floor{
	{"pagefile", []string{modSys, modXxhash}},
	{"dirty", nil},
	{"dump", []string{"pagefile", "dirty", modLz4}},
	{"loader", []string{"pagefile"}},
	{"cache", []string{"cache", "dump", "loader", "dirty", "pagefile", "internal", modSys, modXxhash}},
	{"internal/demo", nil},
	{"internal", []string{"pagefile", "dirty", "internal", modSys, modXxhash}},
	{"examples", []string{"cache", "internal/demo", modSys}},
	{".", []string{"cache"}},
}

// testsMayAlso lists what test files may import on top of their floor.
var testsMayAlso = []string{"internal"}

// topLevel holds every name that may stand at the root of the repository.
var topLevel = []string{
	"go.mod", "go.sum", "doc.go", "bench_test.go", "tidy_test.go",
	"cache", "pagefile", "dirty", "dump", "loader",
	"examples", "docs", "internal", "cmd", "ext",
	"README.md", "CHANGELOG.md", "LICENSE",
	".ci", ".git", ".gitignore", ".gitattributes", ".editorconfig",
}

// exemptions maps "file" or "file:Func" or "file:Type.Method" to the reason why
// a length limit does not hold there, and "dir" to why nine in ten does not.
// One that is no longer needed fails the test.
var exemptions = map[string]string{}

// A sourceFile is one Go file of the module.
type sourceFile struct {
	path string
	src  []byte
	ast  *ast.File
}

func (f *sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }
func (f *sourceFile) dir() string  { return path.Dir(f.path) }

// A tree is what the rules look at. Nested modules and testdata are left out.
type tree struct {
	fset   *token.FileSet
	fsys   fs.FS
	exempt map[string]string // as exemptions
	top    []string
	files  []*sourceFile
}

func readTree(fsys fs.FS, exempt map[string]string) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), fsys: fsys, exempt: exempt}
	top, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		t.top = append(t.top, e.Name())
	}
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return t.skipDir(p)
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		return t.add(p)
	})
	return t, err
}

// skipDir returns fs.SkipDir for a directory that is no part of this module.
func (t *tree) skipDir(p string) error {
	if p == "." {
		return nil
	}
	name := path.Base(p)
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(t.fsys, path.Join(p, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) add(p string) error {
	src, err := fs.ReadFile(t.fsys, p)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.files = append(t.files, &sourceFile{p, src, f})
	return nil
}

func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

func (t *tree) at(n ast.Node) string { return t.fset.Position(n.Pos()).String() }

// A rule returns one line for each fault it finds.
type rule struct {
	name  string
	check func(*tree) []string
}

var rules = []rule{
	{"every floor looks only down", checkFloors},
	{"the core has its dependencies and no others", checkGoMod},
	{"files stay short", checkFileLengths},
	{"functions stay short", checkFuncLengths},
	{"nine functions in ten are under 40 lines", checkNineInTen},
	{"no exemption outlives its need", checkExemptions},
	{"files are gofmt-ed", checkFormat},
	{"no comment postpones work", checkPostponed},
	{"what is exported is documented", checkDocs},
	{"a cited invariant exists", checkInvariants},
	{"the top level holds only what belongs there", checkTopLevel},
	{"a test that docs name exists", checkNamedTests},
}

func checkFloors(t *tree) (faults []string) {
	for _, f := range t.files {
		fl, ok := floorOf(f.dir())
		if !ok {
			continue
		}
		for _, spec := range f.ast.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil || !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue // standard library
			}
			imp = strings.TrimPrefix(imp, modulePath+"/")
			if !allowed(f, fl, imp) {
				faults = append(faults, fmt.Sprintf("%s: %s may not import %s", t.at(spec), f.dir(), imp))
			}
		}
	}
	return faults
}

func floorOf(dir string) (floor, bool) {
	for _, fl := range floors {
		if under(dir, fl.dir) {
			return fl, true
		}
	}
	return floor{}, false
}

func allowed(f *sourceFile, fl floor, imp string) bool {
	may := fl.may
	if f.isTest() {
		may = slices.Concat(may, testsMayAlso)
	}
	if f.isTest() && imp == f.dir() {
		return true // an external test of its own package
	}
	return slices.ContainsFunc(may, func(m string) bool { return under(imp, m) })
}

// under reports whether p is dir or lies below it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

var requireLine = regexp.MustCompile(`^(?:require\s+)?([^\s()]+\.[^\s()]+/\S+)\s+v\S+`)

func checkGoMod(t *tree) (faults []string) {
	src, err := fs.ReadFile(t.fsys, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	var have []string
	for line := range strings.Lines(string(src)) {
		if m := requireLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			have = append(have, m[1])
		}
	}
	for _, mod := range have {
		if !slices.Contains([]string{modSys, modXxhash, modLz4}, mod) {
			faults = append(faults, "go.mod: "+mod+" is not one of the core's dependencies")
		}
	}
	for _, mod := range []string{modSys, modXxhash} {
		if !slices.Contains(have, mod) {
			faults = append(faults, "go.mod: "+mod+" is missing")
		}
	}
	return faults
}

func checkFileLengths(t *tree) (faults []string) {
	for _, f := range t.files {
		if n := t.fileLines(f); n > fileLimit(f) && t.exempt[f.path] == "" {
			faults = append(faults, fmt.Sprintf("%s: %d lines, over %d", f.path, n, fileLimit(f)))
		}
	}
	return faults
}

func (t *tree) fileLines(f *sourceFile) int { return bytes.Count(f.src, []byte("\n")) }

func fileLimit(f *sourceFile) int {
	if f.isTest() {
		return maxTestFileLines
	}
	return maxFileLines
}

func checkFuncLengths(t *tree) (faults []string) {
	for _, f := range t.files {
		for _, fn := range funcs(f) {
			if n := t.lines(fn); n > maxFuncLines && t.exempt[funcKey(f, fn)] == "" {
				faults = append(faults, fmt.Sprintf("%s: %s has %d lines, over %d", t.at(fn), fn.Name.Name, n, maxFuncLines))
			}
		}
	}
	return faults
}

func checkNineInTen(t *tree) (faults []string) {
	all, long := map[string]int{}, map[string]int{}
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		for _, fn := range funcs(f) {
			all[f.dir()]++
			if t.lines(fn) >= longFuncLines {
				long[f.dir()]++
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		if all[dir] >= fewFuncs && long[dir]*10 > all[dir] && t.exempt[dir] == "" {
			faults = append(faults, fmt.Sprintf("%s: %d of %d functions have %d lines or more", dir, long[dir], all[dir], longFuncLines))
		}
	}
	return faults
}

func funcs(f *sourceFile) (list []*ast.FuncDecl) {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			list = append(list, fn)
		}
	}
	return list
}

func funcKey(f *sourceFile, fn *ast.FuncDecl) string {
	if recv := receiver(fn); recv != "" {
		return f.path + ":" + recv + "." + fn.Name.Name
	}
	return f.path + ":" + fn.Name.Name
}

// receiver is the name of fn's receiver type, or "".
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	switch x := unindexed(unstarred(fn.Recv.List[0].Type)).(type) {
	case *ast.Ident:
		return x.Name
	default:
		return "?"
	}
}

func unstarred(x ast.Expr) ast.Expr {
	if s, ok := x.(*ast.StarExpr); ok {
		return s.X
	}
	return x
}

func unindexed(x ast.Expr) ast.Expr {
	switch x := x.(type) {
	case *ast.IndexExpr:
		return x.X
	case *ast.IndexListExpr:
		return x.X
	}
	return x
}

// checkExemptions finds exemptions of what is within its limit or gone.
func checkExemptions(t *tree) (faults []string) {
	needed := map[string]bool{}
	for _, f := range t.files {
		needed[f.path] = t.fileLines(f) > fileLimit(f)
		needed[f.dir()] = true
		for _, fn := range funcs(f) {
			needed[funcKey(f, fn)] = t.lines(fn) > maxFuncLines
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.exempt)) {
		if !needed[key] || t.exempt[key] == "" {
			faults = append(faults, "the exemption of "+key+" is not needed or gives no reason")
		}
	}
	return faults
}

func checkFormat(t *tree) (faults []string) {
	for _, f := range t.files {
		if want, err := format.Source(f.src); err != nil || !bytes.Equal(want, f.src) {
			faults = append(faults, f.path+": not gofmt-ed")
		}
	}
	return faults
}

// The words are spelled apart so that this file passes.
var postponed = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|(?i:\b(not |un)impl` + `emented\b)`)

func checkPostponed(t *tree) (faults []string) {
	for _, f := range t.files {
		for _, g := range f.ast.Comments {
			if w := postponed.FindString(g.Text()); w != "" {
				faults = append(faults, t.at(g)+": "+w)
			}
		}
	}
	return faults
}

func checkDocs(t *tree) (faults []string) {
	hasDoc := map[string]bool{}
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		hasDoc[f.dir()] = hasDoc[f.dir()] || f.ast.Doc.Text() != ""
		if f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range undocumented(d) {
				faults = append(faults, t.at(name)+": "+name.Name+" is exported and has no comment")
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(hasDoc)) {
		if !hasDoc[dir] {
			faults = append(faults, dir+": no package comment")
		}
	}
	return faults
}

// selfExplaining methods are documented by the interfaces they implement.
var selfExplaining = []string{"Error", "String", "Unwrap", "LogValue"}

// undocumented returns the exported names that d declares without a comment.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		recv := receiver(d)
		hidden := !d.Name.IsExported() || recv != "" && (!ast.IsExported(recv) || slices.Contains(selfExplaining, d.Name.Name))
		if !hidden && d.Doc.Text() == "" {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			names = append(names, undocumentedSpec(d, spec)...)
		}
	}
	return names
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) (names []*ast.Ident) {
	text := d.Doc.Text()
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if d.Lparen.IsValid() {
			text = "" // a comment over a group of types says nothing of each
		}
		text += s.Doc.Text() + s.Comment.Text()
		names = append(names, s.Name)
	case *ast.ValueSpec:
		text += s.Doc.Text() + s.Comment.Text()
		names = append(names, s.Names...)
	}
	if text != "" {
		return nil
	}
	return slices.DeleteFunc(names, func(n *ast.Ident) bool { return !n.IsExported() })
}

var invariant = regexp.MustCompile(`\bI([0-9]+)\b`)

// agreedInvariants are I1 to I13; docs/DESIGN.md may define more.
const agreedInvariants = 13

func checkInvariants(t *tree) (faults []string) {
	known := map[string]bool{}
	for i := range agreedInvariants {
		known[fmt.Sprint("I", i+1)] = true
	}
	if design, err := fs.ReadFile(t.fsys, "docs/DESIGN.md"); err == nil {
		for _, name := range invariant.FindAllString(string(design), -1) {
			known[name] = true
		}
	}
	for _, f := range t.files {
		for _, g := range f.ast.Comments {
			for _, name := range invariant.FindAllString(g.Text(), -1) {
				if !known[name] {
					faults = append(faults, t.at(g)+": docs/DESIGN.md has no "+name)
				}
			}
		}
	}
	return faults
}

// leftovers are names that .gitignore covers and go test may leave behind.
var leftovers = []string{".test", ".prof", ".out", ".exe"}

func checkTopLevel(t *tree) (faults []string) {
	for _, name := range t.top {
		if !slices.Contains(topLevel, name) && !slices.Contains(leftovers, path.Ext(name)) {
			faults = append(faults, name+" does not belong at the top level")
		}
	}
	return faults
}

func TestTidy(t *testing.T) {
	tree, err := readTree(os.DirFS("."), exemptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, fault := range r.check(tree) {
				t.Error(fault)
			}
		})
	}
}

var (
	namedTest = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w+)\(`)
)

// checkNamedTests looks in all of the repository's modules. Docs may name the
// beginning, as a pattern for -run does.
func checkNamedTests(t *tree) (faults []string) {
	var tests []string
	docs := map[string][]string{}
	err := fs.WalkDir(t.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		isTest, isDoc := strings.HasSuffix(p, "_test.go"), path.Ext(p) == ".md"
		if !isTest && !isDoc {
			return nil
		}
		src, err := fs.ReadFile(t.fsys, p)
		for _, m := range testFunc.FindAllSubmatch(src, -1) {
			tests = append(tests, string(m[1]))
		}
		if isDoc {
			docs[p] = namedTest.FindAllString(string(src), -1)
		}
		return err
	})
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range slices.Sorted(maps.Keys(docs)) {
		for _, name := range docs[p] {
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, name) }) {
				faults = append(faults, p+": there is no "+name)
			}
		}
	}
	return faults
}

// A fault is a tree that breaks one rule, as a change to a tree that breaks none.
type fault struct {
	rule  string
	label string
	file  string
	src   string
	want  string // what the only complaint contains
}

const goodMod = "module " + modulePath + "\n\ngo 1.25.0\n\nrequire (\n\t" + modXxhash + " v2.3.0\n\t" + modSys + " v0.47.0\n)\n"

// body is a function declaration of n lines.
func body(name string, n int) string {
	return "func " + name + "() {\n" + strings.Repeat("\tprintln()\n", n-2) + "}\n"
}

func faultyImport(pkg, imp string) string {
	return "// Package " + pkg + " is a sample.\npackage " + pkg + "\n\nimport _ \"" + imp + "\"\n"
}

const sample = "// Package sample is a sample.\npackage sample\n\n"

var faults = []fault{
	{"every floor looks only down", "dirty imports pagefile", "dirty/a.go", faultyImport("dirty", modulePath+"/pagefile"), "dirty may not import pagefile"},
	{"every floor looks only down", "pagefile imports dirty", "pagefile/a.go", faultyImport("pagefile", modulePath+"/dirty"), "pagefile may not import dirty"},
	{"every floor looks only down", "dump imports loader", "dump/a.go", faultyImport("dump", modulePath+"/loader"), "dump may not import loader"},
	{"every floor looks only down", "loader imports dump", "loader/a.go", faultyImport("loader", modulePath+"/dump"), "loader may not import dump"},
	{"every floor looks only down", "a helper of cache imports cache", "internal/ring/a.go", faultyImport("ring", modulePath+"/cache"), "internal/ring may not import cache"},
	{"every floor looks only down", "loader imports another module", "loader/a.go", faultyImport("loader", modXxhash), "loader may not import " + modXxhash},
	{"every floor looks only down", "a test imports another module", "cache/a_test.go", faultyImport("cache", "github.com/stretchr/testify"), "cache may not import"},
	{"every floor looks only down", "an example imports the loader", "examples/e/a.go", faultyImport("main", modulePath+"/loader"), "examples/e may not import loader"},
	{"the core has its dependencies and no others", "a fourth dependency", "go.mod", goodMod + "require example.com/x v1.0.0\n", "example.com/x is not one"},
	{"the core has its dependencies and no others", "a missing dependency", "go.mod", "module " + modulePath + "\n\nrequire " + modSys + " v0.47.0\n", modXxhash + " is missing"},
	{"files stay short", "a long file", "cache/a.go", sample + strings.Repeat("// line\n", maxFileLines), "over 500"},
	{"files stay short", "a long test", "cache/a_test.go", sample + strings.Repeat("// line\n", maxTestFileLines), "over 800"},
	{"functions stay short", "a long function", "cache/a.go", sample + body("f", maxFuncLines+1), "f has 71 lines"},
	{"functions stay short", "a long test function", "cache/a_test.go", sample + body("f", maxFuncLines+1), "f has 71 lines"},
	{"nine functions in ten are under 40 lines", "two of eleven", "cache/a.go", elevenFuncs(2), "2 of 11"},
	{"files are gofmt-ed", "spaces for a tab", "cache/a.go", sample + "func f() {\n    println()\n}\n", "not gofmt-ed"},
	{"no comment postpones work", "in a function", "cache/a.go", sample + "func f() {\n\t// TO" + "DO: later\n}\n", "TO" + "DO"},
	{"no comment postpones work", "in words", "cache/a.go", sample + "// f is not imple" + "mented.\nfunc f() {}\n", "not imple" + "mented"},
	{"what is exported is documented", "a function", "cache/a.go", sample + "func F() {}\n", "F is exported"},
	{"what is exported is documented", "a method", "cache/a.go", sample + "// T is one.\ntype T[K any] struct{}\n\nfunc (t *T[K]) M() {}\n", "M is exported"},
	{"what is exported is documented", "a type in a group", "cache/a.go", sample + "// These are types.\ntype (\n\tT int\n)\n", "T is exported"},
	{"what is exported is documented", "a constant", "cache/a.go", sample + "const C = 1\n", "C is exported"},
	{"what is exported is documented", "a package", "cache/a.go", "package sample\n", "cache: no package comment"},
	{"a cited invariant exists", "one too many", "cache/a.go", sample + "// I99\n", "no I99"},
	{"the top level holds only what belongs there", "a file", "notes.txt", "", "notes.txt"},
	{"the top level holds only what belongs there", "a workspace", "go.work", "", "go.work"},
	{"a test that docs name exists", "one that was renamed", "docs/A.md", "TestGone sees to it.\n", "no TestGone"},
}

// elevenFuncs is a file of eleven functions, some of them long.
func elevenFuncs(long int) string {
	src := []string{strings.TrimSuffix(sample, "\n")}
	for i := range 11 {
		n := 3
		if i < long {
			n = longFuncLines
		}
		src = append(src, body(fmt.Sprint("f", i), n))
	}
	return strings.Join(src, "\n")
}

func goodTree() fstest.MapFS {
	return fstest.MapFS{
		"go.mod":         {Data: []byte(goodMod)},
		"docs/DESIGN.md": {Data: []byte("I14 holds too.\n")},
		"cache/a.go":     {Data: []byte(sample + "// I13, I14\n\n// F is one.\nfunc F() {}\n\n// An E is an error.\ntype E struct{}\n\nfunc (E) Error() string { return \"\" }\n")},
		"cache/b.go":     {Data: []byte(elevenFuncs(1))},
		"cache/a_test.go": {Data: []byte("package sample_test\n\nimport (\n\t_ \"" + modulePath + "/cache\"\n\t_ \"" +
			modulePath + "/internal/crashfs\"\n)\n")},
		"internal/lab/go.mod":  {Data: []byte("module lab\n")},
		"internal/lab/main.go": {Data: []byte("package  main // a nested module is left alone\n")},
	}
}

func TestTidyFindsFaults(t *testing.T) {
	seen := map[string]bool{"no exemption outlives its need": true} // shown in a test of its own
	for _, f := range faults {
		t.Run(f.rule+"/"+f.label, func(t *testing.T) {
			fsys := goodTree()
			if strings.HasSuffix(f.file, ".go") {
				delete(fsys, "cache/b.go")
				if f.src == "package sample\n" {
					delete(fsys, "cache/a.go")
				}
			}
			fsys[f.file] = &fstest.MapFile{Data: []byte(f.src)}
			got := faultsOf(t, fsys, nil)[f.rule]
			if len(got) != 1 || !strings.Contains(got[0], f.want) {
				t.Errorf("got %q, want one fault with %q", got, f.want)
			}
		})
		seen[f.rule] = true
	}
	for _, r := range rules {
		if !seen[r.name] {
			t.Errorf("no sample breaks the rule %q", r.name)
		}
	}
}

func TestTidyAcceptsGoodTree(t *testing.T) {
	for name, got := range faultsOf(t, goodTree(), nil) {
		if len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTidyExemptions(t *testing.T) {
	exempt := map[string]string{"cache/a.go:f": "a sample", "cache/gone.go": "no longer there"}
	fsys := goodTree()
	fsys["cache/a.go"] = &fstest.MapFile{Data: []byte(sample + body("f", maxFuncLines+1))}
	got := faultsOf(t, fsys, exempt)
	if n := len(got["functions stay short"]); n != 0 {
		t.Errorf("got %d faults for an exempted function, want 0", n)
	}
	if g := got["no exemption outlives its need"]; len(g) != 1 || !strings.Contains(g[0], "cache/gone.go") {
		t.Errorf("got %q, want one fault with cache/gone.go", g)
	}
}

func faultsOf(t *testing.T, fsys fs.FS, exempt map[string]string) map[string][]string {
	t.Helper()
	tree, err := readTree(fsys, exempt)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, r := range rules {
		all[r.name] = r.check(tree)
	}
	return all
}
