// Logistic regression trained on encrypted samples by Nesterov's accelerated gradient, as in HELR (Han, Song, Cheon,
// Park, 2018): six steps from the weights given, on 426 samples of 30 features and a constant, padded with zeros.
//
// `samples` are rows y * (x, 1), y = 1 or -1, of which the loss is the mean of log(1 + exp(-row . w)). Rows of zeros
// have no gradient.
func.func @main(%z: !fhe.tensor<512x32> {fhe.name = "samples", fhe.range = array<f64: -1.0, 1.0>},
                %start: !fhe.tensor<1x32> {fhe.name = "start", fhe.range = array<f64: -1.0, 1.0>})
    -> (!fhe.tensor<1x32> {fhe.name = "weights"}) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %steps = arith.constant 6 : index
  %end:2 = scf.for %i = %zero to %steps step %one iter_args(%w = %start, %v = %start)
      -> (!fhe.tensor<1x32>, !fhe.tensor<1x32>) {
    // How far each sample is on the right side.
    %rows = fhe.expand %v : !fhe.tensor<1x32> -> !fhe.tensor<512x32>
    %products = fhe.mul %z, %rows : !fhe.tensor<512x32>, !fhe.tensor<512x32>
    %margins = fhe.reduce_sum %products over [1] keep_dims : !fhe.tensor<512x32>
    %opposite = fhe.neg %margins : !fhe.tensor<512x1>
    // The gradient: each sample counts as much as it is wrong.
    %wrong = fhe.activation sigmoid %opposite range [-14.0, 14.0] : !fhe.tensor<512x1>
    %columns = fhe.expand %wrong : !fhe.tensor<512x1> -> !fhe.tensor<512x32>
    %pulls = fhe.mul %columns, %z : !fhe.tensor<512x32>, !fhe.tensor<512x32>
    %sum = fhe.reduce_sum %pulls over [0] keep_dims : !fhe.tensor<512x32>
    // A step of 2 / 426, and 0.6 of the way gone on.
    %step = fhe.scale %sum by 0.004694835680751174 : !fhe.tensor<1x32>
    %next = fhe.add %v, %step : !fhe.tensor<1x32>, !fhe.tensor<1x32>
    %gone = fhe.sub %next, %w : !fhe.tensor<1x32>, !fhe.tensor<1x32>
    %further = fhe.scale %gone by 0.6 : !fhe.tensor<1x32>
    %ahead = fhe.add %next, %further : !fhe.tensor<1x32>, !fhe.tensor<1x32>
    scf.yield %next, %ahead : !fhe.tensor<1x32>, !fhe.tensor<1x32>
  }
  return %end#0 : !fhe.tensor<1x32>
}
