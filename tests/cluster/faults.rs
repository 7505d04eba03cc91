//! What breaks while events flow and members come and go: nodes, Redis, and what is between them.
