mod crash_points;
mod histories;
mod outboxes;
mod power_loss;
mod two_writers;
