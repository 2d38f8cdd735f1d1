package main

import (
	"context"
	"io"
)

var modelsExperiment = experiment{
	name:  "models",
	title: "every order of the steps of the protocols, on the larger of their models",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		s := suite{"./cache", "^TestModelOf", []string{"-models.large"}}
		if o.Quick {
			s.flags = nil
		}
		return s.run(ctx, o, w)
	},
}
