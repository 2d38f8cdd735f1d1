module github.com/embercache/ember/internal/lab

go 1.25.0

replace github.com/embercache/ember => ../..

require github.com/anishathalye/porcupine v1.3.1
