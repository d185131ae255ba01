module github.com/zeroboot/zeroboot/bindings/go

go 1.19
