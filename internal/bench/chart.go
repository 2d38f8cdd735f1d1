package main

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot" // BSD-3-Clause
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 10 * vg.Inch
	panelHeight = 3.2 * vg.Inch
	chartDPI    = 120
	groupShare  = 0.8 // of a group's width that has bars
	legendShare = 1.2 // width of a panel over that of its groups
)

// colors are of the contestants, in order; the first is Ember's.
var colors = []color.Color{
	color.RGBA{0xd0, 0x4a, 0x02, 0xff}, color.RGBA{0xf0, 0xa0, 0x60, 0xff}, color.RGBA{0x1f, 0x77, 0xb4, 0xff},
	color.RGBA{0x6b, 0xae, 0xd6, 0xff}, color.RGBA{0x8c, 0x6b, 0xb1, 0xff}, color.RGBA{0x41, 0xab, 0x5d, 0xff},
	color.RGBA{0x80, 0x80, 0x80, 0xff}, color.RGBA{0xc9, 0x94, 0xc7, 0xff}, color.RGBA{0x40, 0x40, 0x40, 0xff},
}

func init() {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
}

// writeCharts draws a row as SVG and PNG: a panel for each variant, in it a group
// of bars for each figure, and whiskers from the least to the most.
func writeCharts(dir string, r *result) error {
	var panels [][]*plot.Plot
	for i := range r.row.variants {
		v := &r.row.variants[i]
		if !r.drawn(v) {
			continue
		}
		p, err := r.panel(v)
		if err != nil {
			return fmt.Errorf("draw %s, %s: %w", r.row.name, v.name, err)
		}
		panels = append(panels, []*plot.Plot{p})
	}
	if len(panels) == 0 {
		return nil
	}
	svg := draw.NewCanvas(vgsvg.New(chartWidth, panelHeight*vg.Length(len(panels))), chartWidth, panelHeight*vg.Length(len(panels)))
	png := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, panelHeight*vg.Length(len(panels))), vgimg.UseDPI(chartDPI))}
	return errors.Join(
		drawTo(filepath.Join(dir, r.row.name+".svg"), svg, svg.Canvas.(io.WriterTo), panels),
		drawTo(filepath.Join(dir, r.row.name+".png"), draw.New(png), png, panels))
}

// drawn reports whether there is something to draw.
func (r *result) drawn(v *variant) bool {
	for _, f := range r.row.chart {
		for _, who := range v.contestants {
			if len(r.values(v, who, f)) > 0 {
				return true
			}
		}
	}
	return false
}

// drawTo draws the panels below each other and writes what w holds to a file.
func drawTo(path string, area draw.Canvas, w io.WriterTo, panels [][]*plot.Plot) error {
	margin := vg.Points(10)
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: vg.Points(12), PadTop: margin, PadBottom: margin, PadLeft: margin, PadRight: margin}
	for i := range panels {
		panels[i][0].Draw(tiles.At(area, 0, i))
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = w.WriteTo(f)
	return errors.Join(err, f.Close())
}

// scale turns values into heights of bars, which begin at 0.
type scale struct {
	log   bool
	floor float64 // logarithm of what has height 0
}

func (s scale) height(x float64) float64 {
	if s.log {
		return math.Max(math.Log10(x)-s.floor, 0)
	}
	return x
}

func (r *result) panel(v *variant) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = r.row.title + ": " + v.name
	p.Y.Label.Text = r.row.unit
	p.Add(plotter.NewGrid())
	s := r.scale(v)
	width := groupShare / float64(len(v.contestants))
	for i, who := range v.contestants {
		if err := r.bars(p, v, who, s, colors[i%len(colors)], width, float64(i)*width-groupShare/2); err != nil {
			return nil, err
		}
	}
	p.NominalX(r.row.chart...)
	groups := float64(len(r.row.chart))
	p.X.Min, p.X.Max = -0.5, groups*legendShare-0.5
	p.Y.Min = 0
	if s.log {
		p.Y.Tick.Marker = plot.TickerFunc(func(low, high float64) []plot.Tick { return logTicks(s.floor, low, high) })
	}
	p.Legend.Top = true
	return p, nil
}

// scale is that of a panel: a logarithmic one begins a bit below the least.
func (r *result) scale(v *variant) scale {
	s := scale{log: r.row.logarith, floor: math.Inf(1)}
	for _, who := range v.contestants {
		for _, f := range r.row.chart {
			for _, x := range r.values(v, who, f) {
				if x > 0 {
					s.floor = math.Min(s.floor, math.Log10(x)-0.3)
				}
			}
		}
	}
	if math.IsInf(s.floor, 0) {
		s.floor = 0 // nothing is over 0
	}
	return s
}

// bars adds those of one contestant, each left its offset from its group's middle.
func (r *result) bars(p *plot.Plot, v *variant, who string, s scale, fill color.Color, width, left float64) error {
	shown := false
	for group, f := range r.row.chart {
		sp := spreadOf(listed(r.values(v, who, f)))
		if math.IsNaN(sp.median) {
			continue
		}
		x, top := float64(group)+left, s.height(sp.median)
		bar, err := plotter.NewPolygon(plotter.XYs{{X: x, Y: 0}, {X: x + width*0.9, Y: 0}, {X: x + width*0.9, Y: top}, {X: x, Y: top}})
		if err != nil {
			return err
		}
		bar.Color, bar.LineStyle.Width = fill, 0
		whisker, err := plotter.NewLine(plotter.XYs{{X: x + width*0.45, Y: s.height(sp.low)}, {X: x + width*0.45, Y: s.height(sp.high)}})
		if err != nil {
			return err
		}
		p.Add(bar, whisker)
		if !shown {
			p.Legend.Add(who, bar)
			shown = true
		}
	}
	return nil
}

// logTicks labels 1, 2 and 5 of each decade.
func logTicks(floor, low, high float64) (ticks []plot.Tick) {
	for decade := math.Floor(low + floor); decade <= high+floor; decade++ {
		for _, i := range []float64{1, 2, 5} {
			x := i * math.Pow(10, decade)
			if t := math.Log10(x) - floor; t >= low && t <= high {
				ticks = append(ticks, plot.Tick{Value: t, Label: strconv.FormatFloat(x, 'g', -1, 32)})
			}
		}
	}
	return ticks
}
