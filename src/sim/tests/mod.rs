mod crash_points;
mod histories;
mod power_loss;
mod two_writers;
