module github.com/embercache/ember/internal/lab

go 1.25.0

replace github.com/embercache/ember => ../..
