package deploy

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gonum.org/v1/plot" // BSD-3-Clause
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/embercache/ember/examples/webservice/load"
	"github.com/embercache/ember/internal/demo"
)

const (
	chartWidth  = 9 * vg.Inch
	chartHeight = 7 * vg.Inch
	chartDPI    = 150
)

// styles are of the series, in order.
var styles = []draw.LineStyle{
	{Color: color.RGBA{R: 0xd0, G: 0x4a, B: 0x02, A: 0xff}, Width: vg.Points(2.5)},
	{Color: color.RGBA{R: 0x40, G: 0x40, B: 0x40, A: 0xff}, Width: vg.Points(2.5)},
	{Color: color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}, Width: vg.Points(1.5), Dashes: []vg.Length{vg.Points(6), vg.Points(3)}},
	{Color: color.RGBA{R: 0x8c, G: 0x6b, B: 0xb1, A: 0xff}, Width: vg.Points(1.5), Dashes: []vg.Length{vg.Points(2), vg.Points(2)}},
}

func init() {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
}

// writeChart draws hit ratio and p99 over the restart, one above the other.
func writeChart(path string, o *Options, outcomes []outcome) error {
	signal := "SIGTERM"
	if o.Kill {
		signal = "SIGKILL"
	}
	hits, err := panel(o, outcomes, func(s *load.Second) float64 { return 100 * s.HitRatio() })
	if err != nil {
		return err
	}
	when := fmt.Sprintf("%s under %s requests/s", signal, demo.Count(int(o.Load.Rate)))
	hits.Title.Text = "Hit ratio over a restart by " + when
	hits.Y.Label.Text = "hits, in % of the reads"
	hits.Y.Min, hits.Y.Max = 0, 100
	hits.Y.Tick.Marker = plot.TickerFunc(func(float64, float64) []plot.Tick { return everySo(0, 100, 20, 20) })
	hits.Legend.XOffs, hits.Legend.YOffs = vg.Points(-8), vg.Points(8)
	latency, err := panel(o, outcomes, func(s *load.Second) float64 {
		if s.P99 == 0 {
			return math.NaN()
		}
		return math.Log10(float64(s.P99) / float64(time.Millisecond))
	})
	if err != nil {
		return err
	}
	latency.Legend = plot.NewLegend()
	latency.Title.Text = "Time to answer, 99th percentile, from when a request was due"
	latency.Y.Label.Text = "p99 in ms, logarithmic"
	// Logarithms on a linear axis: plot.LogScale leaves room for the axis's label
	// where the middle of a linear one would be.
	latency.Y.Tick.Marker = plot.TickerFunc(logTicks)
	latency.Y.Min, latency.Y.Max = latency.Y.Min-0.2, latency.Y.Max+0.2
	for _, p := range []*plot.Plot{hits, latency} {
		if err := markRestart(p); err != nil {
			return err
		}
	}
	return save(path, [][]*plot.Plot{{hits}, {latency}})
}

// panel draws a value of each second, a level line, for each series. Where it is
// NaN there is a gap.
func panel(o *Options, outcomes []outcome, value func(*load.Second) float64) (*plot.Plot, error) {
	p := plot.New()
	p.Add(plotter.NewGrid())
	for i := range outcomes {
		style := styles[i%len(styles)]
		for _, run := range runs(outcomes[i].seconds, -o.Before.Seconds(), value) {
			line, err := plotter.NewLine(run)
			if err != nil {
				return nil, fmt.Errorf("draw %s: %w", outcomes[i].name, err)
			}
			line.LineStyle = style
			p.Add(line)
		}
		p.Legend.Add(outcomes[i].name, &plotter.Line{LineStyle: style})
	}
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "seconds since the restart"
	p.X.Min, p.X.Max = -o.Before.Seconds(), o.After.Seconds()
	p.X.Tick.Marker = plot.TickerFunc(secondTicks)
	p.Legend.ThumbnailWidth = vg.Points(30)
	p.Legend.Padding = vg.Points(2)
	return p, nil
}

// runs are the lines from x on, without what is NaN.
func runs(seconds []load.Second, x float64, value func(*load.Second) float64) (lines []plotter.XYs) {
	gap := true
	for i := range seconds {
		y := value(&seconds[i])
		if math.IsNaN(y) {
			gap = true
			continue
		}
		if gap {
			lines, gap = append(lines, nil), false
		}
		last := &lines[len(lines)-1]
		*last = append(*last, plotter.XY{X: x + float64(i), Y: y}, plotter.XY{X: x + float64(i) + 1, Y: y})
	}
	return lines
}

// markRestart draws a line at 0, from the bottom to the top, and names it.
func markRestart(p *plot.Plot) error {
	line, err := plotter.NewLine(plotter.XYs{{X: 0, Y: p.Y.Min}, {X: 0, Y: p.Y.Max}})
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: color.Gray{0x60}, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(3), vg.Points(3)}}
	label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: 0, Y: p.Y.Min}}, Labels: []string{"restart"}})
	if err != nil {
		return err
	}
	label.Offset = vg.Point{X: vg.Points(4), Y: vg.Points(4)}
	p.Add(line, label)
	return nil
}

func secondTicks(low, high float64) []plot.Tick {
	if high-low <= 30 {
		return everySo(low, high, 1, 1)
	}
	return everySo(low, high, 1, 5)
}

// everySo makes a tick at each multiple of step and labels those of labelled.
func everySo(low, high, step, labelled float64) (ticks []plot.Tick) {
	for x := math.Ceil(low/step) * step; x <= high; x += step {
		t := plot.Tick{Value: x}
		if math.Mod(x, labelled) == 0 {
			t.Label = strconv.FormatFloat(x, 'f', -1, 64)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// logTicks labels 1, 2 and 5 of each decade, on an axis of decimal logarithms.
func logTicks(low, high float64) (ticks []plot.Tick) {
	for decade := math.Floor(low); decade <= high; decade++ {
		for i := 1.0; i < 10; i++ {
			x := i * math.Pow(10, decade)
			t := plot.Tick{Value: math.Log10(x)}
			if t.Value < low || t.Value > high {
				continue
			}
			if i == 1 || i == 2 || i == 5 {
				t.Label = strconv.FormatFloat(x, 'f', -1, 32)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// save draws the plots, aligned, in the format that the name's end says.
func save(path string, plots [][]*plot.Plot) (err error) {
	type canvas interface {
		vg.CanvasSizer
		WriteTo(io.Writer) (int64, error)
	}
	var c canvas = vgsvg.New(chartWidth, chartHeight)
	if filepath.Ext(path) == ".png" {
		c = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, chartHeight), vgimg.UseDPI(chartDPI))}
	}
	margin := vg.Points(10)
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadX: margin, PadY: vg.Points(12), PadTop: margin, PadBottom: margin, PadLeft: margin, PadRight: margin}
	area := draw.New(c)
	for i, row := range plot.Align(plots, tiles, area) {
		tile := tiles.At(area, 0, i)
		tile.Min.X, tile.Max.X = row[0].Min.X, row[0].Max.X // only the sides need to match
		plots[i][0].Draw(tile)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(f)
	return errors.Join(err, f.Close())
}
