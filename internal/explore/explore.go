// Package explore visits every state that a few actors can bring a small model of a
// protocol into, and shows the shortest way to one that must not be. It is for tests.
//
// A state is a value that can be compared: the memory that the actors share, and for
// each of them where it stands and what it holds. A step is what the protocol does at
// once, so the order of the steps is the order that the code has them in; steps of
// different actors come in any order. No state is visited twice.
package explore

import (
	"fmt"
	"strings"
)

// A Step is something that happens at once.
type Step[S comparable] struct {
	Label string            // what Do of other steps returns to go on here
	Does  string            // what it does, and where the code does it
	If    func(s *S) bool   // whether it can happen; nil: always
	Do    func(s *S) string // changes s; "" goes on with the next step, End with none
}

// End is where an actor goes that has done all it has to.
const End = "end"

// An Actor takes its steps one after the other.
type Actor[S comparable] struct {
	Name  string
	At    func(s *S) *uint8 // the number of its next step
	Steps []Step[S]
}

// A Witness is a state that must be reached, or the model says nothing.
type Witness[S comparable] struct {
	Name string
	Seen func(s *S) bool
}

// A Model is a protocol: where it begins, who acts, and what is to hold.
type Model[S comparable] struct {
	Start     S
	Actors    []Actor[S]
	Free      []Step[S]         // each may happen whenever its If says so
	Check     func(s *S) string // of every state: what is wrong; "" nothing
	Witnesses []Witness[S]      // each is reached
	Show      func(s *S) string // a state, for who reads a trace; may be nil
}

// A Result is what Explore has found.
type Result struct {
	States, Steps int
	Wrong         string   // what does not hold; "" all holds in every state
	Trace         []string // the steps that lead there, one a line
	Unseen        []string // witnesses that nothing leads to
	Cut           bool     // there are more states than were asked for
}

// String is a counterexample that can be read.
func (r *Result) String() string {
	if r.Wrong == "" {
		return fmt.Sprintf("%d states, %d steps", r.States, r.Steps)
	}
	return fmt.Sprintf("%s\nafter\n\t%s", r.Wrong, strings.Join(r.Trace, "\n\t"))
}

// node is how a state was reached first, by the shortest way.
type node struct {
	from         int32
	actor, taken int16 // actor: -1 for a free step
}

type search[S comparable] struct {
	m      *Model[S]
	labels []map[string]uint8
	known  map[S]struct{}
	states []S
	nodes  []node
	unseen []Witness[S]
	result Result
}

// Explore visits the states breadth first, most of them at most, and stops at the
// first that is wrong. An actor that can never go on, in a state where nobody can, is
// wrong as well.
func (m *Model[S]) Explore(most int) *Result {
	x := &search[S]{m: m, known: make(map[S]struct{}), unseen: append([]Witness[S](nil), m.Witnesses...)}
	for i := range m.Actors {
		x.labels = append(x.labels, labelsOf(&m.Actors[i]))
	}
	x.visit(m.Start, node{-1, -1, -1})
	for i := 0; i < len(x.states) && x.result.Wrong == ""; i++ {
		if len(x.states) > most {
			x.result.Cut = true
			break
		}
		x.expand(int32(i))
	}
	x.result.States = len(x.states)
	for _, w := range x.unseen {
		x.result.Unseen = append(x.result.Unseen, w.Name)
	}
	return &x.result
}

func labelsOf[S comparable](a *Actor[S]) map[string]uint8 {
	labels := map[string]uint8{End: uint8(len(a.Steps))}
	for i, s := range a.Steps {
		if s.Label == "" {
			continue
		}
		if _, ok := labels[s.Label]; ok {
			panic("explore: " + a.Name + " has two steps " + s.Label)
		}
		labels[s.Label] = uint8(i)
	}
	return labels
}

// visit takes a state in, unless it is known.
func (x *search[S]) visit(s S, n node) {
	x.result.Steps++
	if _, ok := x.known[s]; ok {
		return
	}
	x.known[s] = struct{}{}
	x.states = append(x.states, s)
	x.nodes = append(x.nodes, n)
	for i := 0; i < len(x.unseen); i++ {
		if x.unseen[i].Seen(&s) {
			x.unseen = append(x.unseen[:i], x.unseen[i+1:]...)
			i--
		}
	}
	if wrong := x.m.Check(&s); wrong != "" && x.result.Wrong == "" {
		x.fail(int32(len(x.states)-1), wrong)
	}
}

// expand takes every step that can be taken in state i.
func (x *search[S]) expand(i int32) {
	moved, waiting := false, ""
	for a := range x.m.Actors {
		actor := &x.m.Actors[a]
		s := x.states[i]
		at := *actor.At(&s)
		if int(at) >= len(actor.Steps) {
			continue
		}
		step := &actor.Steps[at]
		if step.If != nil && !step.If(&s) {
			waiting = actor.Name + " waits to: " + step.Does
			continue
		}
		to := at + 1
		if label := step.Do(&s); label != "" {
			var ok bool
			if to, ok = x.labels[a][label]; !ok {
				panic("explore: " + actor.Name + " has no step " + label)
			}
		}
		*actor.At(&s) = to
		moved = true
		x.visit(s, node{i, int16(a), int16(at)})
	}
	for f := range x.m.Free {
		s := x.states[i]
		if step := &x.m.Free[f]; step.If(&s) {
			step.Do(&s)
			moved = true
			x.visit(s, node{i, -1, int16(f)})
		}
	}
	if !moved && waiting != "" && x.result.Wrong == "" {
		x.fail(i, "nobody can go on: "+waiting)
	}
}

// fail keeps the way to state i.
func (x *search[S]) fail(i int32, wrong string) {
	x.result.Wrong = wrong
	for ; x.nodes[i].from >= 0; i = x.nodes[i].from {
		line := ""
		if n := x.nodes[i]; n.actor >= 0 {
			line = x.m.Actors[n.actor].Name + ": " + x.m.Actors[n.actor].Steps[n.taken].Does
		} else {
			line = x.m.Free[n.taken].Does
		}
		if x.m.Show != nil {
			line += "   [" + x.m.Show(&x.states[i]) + "]"
		}
		x.result.Trace = append([]string{line}, x.result.Trace...)
	}
}
