mod crash_points;
mod power_loss;
mod two_writers;
