mod around;
mod crash_points;
mod histories;
mod late_requests;
mod outboxes;
mod power_loss;
mod transactions;
mod two_writers;
