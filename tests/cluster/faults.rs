//! What breaks while events flow and members come and go: nodes, Redis, and what is between them. Afterwards everybody has heard
//! each event once and in order, but for what is counted as lost; all see the members who are there; Redis holds nothing more.
mod between;
mod dying;
mod emptied;
mod load;
mod news;
mod outage;
mod storm;
mod topology;
